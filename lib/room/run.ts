/**
 * An unbroken run of posts as bytes, in a few large pieces of memory that are used again.
 *
 * What is kept for others lives for minutes or hours. As an object for each post, a flood made the collector's old generation
 * swing by 100 MB, and memory that is given back to the system and taken again cost more than all else that was done with a
 * post (test/bench/README.md). So what comes in dies young, and what is kept is a copy here.
 *
 * Invariants. Posts come at the end and go at the beginning. A piece is used again when no post in it is held, so a `view`
 * is good until the log changes; whoever keeps a post asks for `owned`.
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
}

/** Pieces of the largest size that nobody uses: a log that is full drops one for each that it takes. */
export class Spares {
  private readonly pieces: Buffer[] = [];

  take(bytes: number): Buffer {
    const spare = bytes === PIECE_MAX_BYTES ? this.pieces.pop() : undefined;
    return spare ?? Buffer.allocUnsafeSlow(bytes);
  }

  give(piece: Buffer): void {
    if (piece.length === PIECE_MAX_BYTES && this.pieces.length < SPARE_MAX) this.pieces.push(piece);
  }
}

export class Run {
  /** The oldest first; the newest is written to. */
  private readonly pieces: Piece[] = [];
  /** What the pieces take, written to or not. */
  memoryBytes = 0;

  constructor(
    private readonly spares: Spares,
    /** The lowest post held, … */
    private floor: number,
  ) {}

  /** Copies the next post. */
  push({ frame, seq }: Post): void {
    let piece = this.pieces.at(-1);
    if (piece === undefined || piece.end + frame.length > piece.bytes.length) piece = this.grow(frame.length, seq);
    assert(piece.firstSeq + piece.starts.length === seq, "a run has no gaps");
    piece.bytes.set(frame, piece.end);
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
    this.spares.give(piece.bytes);
  }

  private grow(bytes: number, firstSeq: number): Piece {
    const last = this.pieces.at(-1)?.bytes.length ?? PIECE_MIN_BYTES / 2;
    const piece: Piece = {
      bytes: this.spares.take(Math.max(bytes, Math.min(2 * last, PIECE_MAX_BYTES))),
      firstSeq,
      starts: [],
      end: 0,
    };
    this.pieces.push(piece);
    this.memoryBytes += piece.bytes.length;
    return piece;
  }
}
