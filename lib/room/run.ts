/**
 * An unbroken run of posts as bytes, in a few large pieces of memory that are used again.
 *
 * What is kept for others lives for minutes or hours. As an object for each post, a flood made the collector's old generation
 * swing by 100 MB, and memory that is given back to the system and taken again cost more than all else that was done with a
 * post (test/bench/README.md). So what comes in dies young, and what is kept is a copy here.
 *
 * Invariants. Posts come at the end and go at the beginning. A piece is used again when no post in it is held, so a `view`
 * is good until the log changes; whoever keeps a post asks for `owned`. A post that was written here by who made it (`reserve`)
 * goes to the links as it lies here, so its piece is used again when what they got in that turn of the loop is written.
 */
import { largestPostFrameBytes, Post } from "../codec/post.ts";
import { assert } from "../errors.ts";

/** Pieces double up to here: what a talker leaves unused is a quarter at most. */
const PIECE_MAX_BYTES = 4 * largestPostFrameBytes;
const PIECE_MIN_BYTES = 512;
const SPARE_MAX = 4;

interface Piece {
  readonly bytes: Buffer;
  readonly firstSeq: number;
  /** Where each of its posts begins, those that have gone included; and how much is written. */
  readonly starts: number[];
  end: number;
  /** Frames in it were handed out. */
  isLent: boolean;
}

/** Pieces of the largest size that nobody uses: a log that is full drops one for each that it takes. */
export class Spares {
  private readonly pieces: Buffer[] = [];
  /** Given back in this turn of the loop, and in the one before, by who has lent frames in them. */
  private lent: Buffer[] = [];
  private lentBefore: Buffer[] = [];

  take(bytes: number): Buffer {
    const spare = bytes === PIECE_MAX_BYTES ? this.pieces.pop() : undefined;
    return spare ?? Buffer.allocUnsafeSlow(bytes);
  }

  give({ bytes, isLent }: Pick<Piece, "bytes" | "isLent">): void {
    const list = isLent ? this.lent : this.pieces;
    if (bytes.length === PIECE_MAX_BYTES && list.length < SPARE_MAX) list.push(bytes);
  }

  /** All frames that were handed out before this turn are written, or copied. */
  endTurn(): void {
    for (const bytes of this.lentBefore) this.give({ bytes, isLent: false });
    this.lentBefore = this.lent;
    this.lent = [];
  }
}

export class Run {
  /** The oldest first; the newest is written to. */
  private readonly pieces: Piece[] = [];
  /** What the pieces take, written to or not. */
  memoryBytes = 0;
  private reserved: Buffer | undefined;

  constructor(
    private readonly spares: Spares,
    /** The lowest post held, … */
    private floor: number,
  ) {}

  /** Memory for the frame of the next post, where it will lie. */
  reserve(bytes: number, seq: number): Buffer {
    const piece = this.pieceFor(bytes, seq);
    piece.isLent = true;
    this.reserved = piece.bytes.subarray(piece.end, piece.end + bytes);
    return this.reserved;
  }

  /** Takes the next post: copies it, unless it was written where it lies. */
  push({ frame, seq }: Post): void {
    const piece = this.pieceFor(frame.length, seq);
    assert(piece.firstSeq + piece.starts.length === seq, "a run has no gaps");
    if (frame !== this.reserved) piece.bytes.set(frame, piece.end);
    this.reserved = undefined;
    piece.starts.push(piece.end);
    piece.end += frame.length;
  }

  /** A post that is held, as it lies here: good until the log changes. */
  view(seq: number): Post | undefined {
    if (seq < this.floor) return undefined;
    const piece = this.pieces.findLast(({ firstSeq }) => firstSeq <= seq);
    const index = seq - (piece?.firstSeq ?? 0);
    const start = piece?.starts[index];
    if (piece === undefined || start === undefined) return undefined;
    return new Post(piece.bytes.subarray(start, piece.starts[index + 1] ?? piece.end), true);
  }

  /** Drops the lowest post. */
  shift(): void {
    const [piece] = this.pieces;
    assert(piece !== undefined, "there is one to drop");
    this.floor += 1;
    if (this.floor < piece.firstSeq + piece.starts.length) return;
    this.pieces.shift();
    this.memoryBytes -= piece.bytes.length;
    this.spares.give(piece);
  }

  /** The newest piece, or one more, with room for so many bytes. */
  private pieceFor(bytes: number, firstSeq: number): Piece {
    const newest = this.pieces.at(-1);
    if (newest !== undefined && newest.end + bytes <= newest.bytes.length) return newest;
    const last = newest?.bytes.length ?? PIECE_MIN_BYTES / 2;
    const piece: Piece = {
      bytes: this.spares.take(Math.max(bytes, Math.min(2 * last, PIECE_MAX_BYTES))),
      firstSeq,
      starts: [],
      end: 0,
      isLent: false,
    };
    this.pieces.push(piece);
    this.memoryBytes += piece.bytes.length;
    return piece;
  }
}
