/**
 * Every cap and every timeout, with its unit in its name and its reason beside it.
 *
 * A queue, map or frame without a line here is a bug (TigerBeetle's TIGER_STYLE: "put a limit on everything"). What the
 * limits owe each other is asserted below, so that changing one cannot silently break another.
 */
import { assert } from "./errors.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  // Names and texts.
  /** A name fits a prompt and a 40-column screen. */
  nameMaxCharacters: 32,
  /** 32 characters of four UTF-8 bytes each. */
  nameMaxBytes: 128,
  /** A text, and the body of any post. The seed's 2,048 was too short for a pasted stack trace. */
  bodyMaxBytes: 64 * KiB,
  /** Texts in one post; more go into the next. One of nothing but dividers must not become an avalanche. */
  textsPerPostMax: 8_192,

  // Frames.
  /** The largest frame: a post with a full body and its header. */
  frameMaxBytes: 64 * KiB + 512,
  /** Before a peer is authenticated nothing larger than a hello is needed. */
  handshakeFrameMaxBytes: 1 * KiB,
  /** Addresses that one member announces, or one refusal offers. */
  addressesMax: 8,
  /** A host name is at most 253 characters (RFC 1035); an IPv6 address with a zone fits. */
  hostMaxBytes: 255,

  // Links.
  /** Up to this many links everybody is linked to everybody; above it a random mesh. */
  fullMeshLinksMax: 32,
  /** The mesh a larger room keeps: below the low mark a node dials, above the high mark it lets go. */
  meshLinksLow: 6,
  meshLinksTarget: 8,
  meshLinksHigh: 12,
  /** Where a full mesh has outgrown its limit by a quarter, it thins out, one link a node at a time. */
  thinOutMembers: 40,
  thinOutIntervalMs: 500,
  /** A link as young as this is not let go: it may be the only one of a newcomer. */
  linkSettleMs: 10_000,
  /** The oldest are never let go: whoever brings many members of its own later does not get them all. */
  oldLinksKept: 4,
  /** Links a node accepts before it refuses politely with other addresses. */
  linksMax: 48,
  /** Connections that have not shown who they are. */
  handshakesMax: 1_024,
  /** The same from one address, so that one machine cannot fill all of them. */
  handshakesPerAddressMax: 32,
  /** TLS costs us a millisecond whoever comes: so many connections from one address at once, … */
  connectionsBurst: 64,
  /** … and so many a second after that; all others are closed. */
  connectionsPerSecond: 16,
  /** Addresses of which that is remembered. */
  originsMax: 1_024,
  /** A connection that says nothing at all. */
  firstByteTimeoutMs: 4_000,
  /** TLS and hello and welcome together. "Nobody there" must be said within 10 s. */
  handshakeTimeoutMs: 8_000,
  /** How many tried wrong words is told so long after the first, … */
  rejectedSoonMs: 1_000,
  /** … and then at most so often. */
  rejectedAgainMs: 60_000,
  /** After our goodbye the peer has so long to close its end too. */
  followTimeoutMs: 2_000,
  /** However steadily a slow peer reads, leaving takes no longer. */
  flushTimeoutMs: 30_000,
  /** One address of a peer; the next is tried after that. */
  connectTimeoutMs: 4_000,
  /** What waits for a slow reader, in bytes, before the core stops pushing to it. */
  linkCreditBytes: 1 * MiB,
  /** It hears that a link has taken all, but not after each word. */
  linkDrainedBytes: 256 * KiB,
  /** Posts under way to one peer, that it has not told by a pong to have handled. More would delay whoever talks next. */
  windowBytes: 1 * MiB,
  /** Pings that ask for it: one for each third of a window. */
  pingsUnderWayMax: 3,
  /** Whoever has less of it under way does not wait for the others; together these get as much again. */
  quietBytes: 64 * KiB,
  /** What a post costs there beside its bytes: to check a signature takes about as long as to move so many, encrypted. */
  postCostBytes: 16 * KiB,
  /** What may wait all the same (answers, control frames) before the link is given up. */
  linkQueueMaxBytes: 8 * MiB,
  /** What a link has sent is handled for so long at once; the rest takes turns with others that are behind … */
  sliceMs: 1,
  /** … for so long in one turn of the loop, in which everybody else waits. */
  turnMs: 3,
  /** What it costs to handle a message: a post's check, store and way on, … */
  checkCostUs: 200,
  /** … one more if it opens a session for others, of which a node keeps some KiB, … */
  openingCostUs: 300,
  /** … anything else, … */
  messageCostUs: 10,
  /** … and each byte, of entries in a list, … */
  entryByteCostNs: 50,
  /** … and of texts. */
  textByteCostNs: 3,
  /** So much of it a link may have us do: at first, or less where many come at once, … */
  allowanceStartMs: 20,
  /** … at most, after a while of silence, … */
  allowanceMaxMs: 60,
  /** … and what is added in a second. Beyond that it is slowed down, … */
  allowancePerSecondMs: 15,
  /** … where others have said something so lately … */
  conversationMs: 1_000,
  /** … in a post of no more than this: what is larger pours. Any number of those who are slowed down get no more than one. */
  talkMaxBytes: 4 * KiB,
  /** Of so many it is remembered what they have used. */
  allowancesMax: 1_024,
  /** After a turn for those who have half of it left or less, others have the time, so long. */
  restMs: 3,
  /** What a link hands on for others counts so much less: they were slowed down where they said it. */
  relayDiscount: 8,
  /** Of what a peer hands on as much is taken in a second as of what it says itself, and this at once: 200 posts at first … */
  relayedStartMs: 40,
  /** … and 500 after a silence. */
  relayedMaxMs: 100,
  /** In debt up to this … */
  quietDebtMs: 10,
  /** … it is heard of those who have not used up what each author has: some twenty short posts, … */
  quietMaxMs: 4,
  /** … and so much more a second. */
  quietPerSecondMs: 1,
  /** Posts of others were let pass: so many are asked for in a second, … */
  askAgainPosts: 64,
  /** … of a peer that has so much left. */
  askAgainMs: 15,
  /** What has come on links that are behind may wait for them, all together … */
  heldMaxBytes: 8 * MiB,
  /** … or at each, if that is more: what one read of a socket brings, and the end of a TLS record behind it. */
  heldPerLinkBytes: (512 + 32) * KiB,
  /** What was told and may still be looked at; the memory of what comes beside that is left to the collector. */
  toldMaxBytes: 4 * MiB,
  /** A reader that takes nothing for so long while data waits is gone. */
  linkStuckTimeoutMs: 30_000,
  /** Before a link was silent for so long it is pinged by who has dialled it … */
  pingIdleMs: 6_000,
  /** … and by the other end so much later, since one ping tells both that the link is alive; … */
  pingYieldMs: 1_000,
  /** … those of all links at the same moments, the last before that, so that an idle node wakes once for all … */
  linkTimerGridMs: 1_000,
  /** … and given up when it stays silent. Lost members are told of within 15 s. */
  linkSilenceTimeoutMs: 11_000,

  // Dialling.
  dialBackoffMinMs: 500,
  dialBackoffMaxMs: 30_000,
  /** Everybody who hears of a newcomer would dial it; the newcomer goes first. */
  dialYieldMs: 1_500,
  /** One member without a link is tried so often, so that a split room meets again and ghosts are found. */
  probeIntervalMs: 15_000,
  /** For so long after somebody was lost one looks more often who else is missing. */
  uneasyMs: 60_000,
  uneasyProbeIntervalMs: 2_000,
  /** Dials in a row that fail before a member is missed who never had a link to us. */
  doubtAfterFailures: 3,
  /** Between two looks at who is to be dialled, and between a change of the roster and the look it leads to. */
  meshPauseMs: 20,
  /** Dials under way at once: whoever invents members must not make everybody knock at a thousand doors. */
  dialsMax: 64,
  /** Members of one room that the store remembers, to be looked for in a later run. */
  rememberedMembersMax: 1_024,

  // Presence.
  /** Whoever misses a member waits a random while before saying so: one voice is enough. */
  lostPauseMinMs: 500,
  lostPauseMaxMs: 2_500,
  /** Whoever is called lost says that it is not, at most so often. */
  refuteIntervalMs: 1_000,

  // Spreading.
  /** Heads that changed are told to lazy links so often, … */
  haveIntervalMs: 1_000,
  /** … to so many of them, drawn anew each time, … */
  haveFanOut: 3,
  /** … and in so many rounds. In a full mesh of 25 a node misses all four with a chance of 5 in a million. */
  haveRounds: 4,
  /** One random neighbour is compared with in full so often. */
  compareIntervalMs: 20_000,
  /** With so few sessions their list is not longer than what would be said to shorten it. */
  wholeListSessions: 32,
  /** A peer gets so many answers to `compare` and `list` in a row … */
  comparesBurst: 8,
  /** … and one more each time this has passed. */
  compareAgainMs: 2_000,
  /** Neighbours asked at once when a stream has lost its feed. */
  adoptFanOut: 4,
  /**
   * What an author said to us itself, and was told, is checked so long after it came: when all who hear it have told it. Not a multiple of
   * what steady talk comes in, or the check would fall on one of the next texts: 1.6 ms at p99 with 100 ms in a room of eight, 0.85 so, in one run each.
   */
  checkWithinMs: 75,
  /** Posts in a row of which one signature is checked, … */
  uncheckedMaxPosts: 64,
  /** … and such rows that wait at once: to check them takes half a millisecond. */
  uncheckedMaxRows: 8,
  /** A hole is asked for after this many round trips of the link that told of it … */
  graftDelayRoundTrips: 2,
  /** … but not sooner, since timers are no finer. */
  graftDelayMinMs: 20,
  /** The first text of an author goes to so many neighbours of each: more find shorter ways, and cost more copies. */
  floodFanOut: 10,
  /** News of the roster to so many: with 10 a room that meets again needs twice the frames, and is whole later. */
  rosterFanOut: 5,
  /** Whoever hands on what floods waits for this part of a mean round trip: 14 ms of 100, and nothing in a LAN. */
  floodStepsPerRoundTrip: 7,
  /** Entries in one `have` or `want`. */
  digestEntriesMax: 2_048,
  /** A round trip nobody has measured yet. */
  roundTripGuessMs: 100,
  /** Events of a chat that nobody has subscribed to, beyond those that opening it has to tell. */
  unheardEventsMax: 10_000,
  /** Posts of the backlog that a newcomer is shown; the rest is in the log. */
  historyMaxPosts: 1_000,
  /** The first comparison with the room ends here whatever is missing. */
  syncTimeoutMs: 5_000,

  // Memory.
  /** Members and sessions known at once. */
  membersMax: 8_192,
  sessionsMax: 8_192,
  /** Where all of them look alive, so many of those that somebody has made up are forgotten. */
  forgottenAtOnce: 256,
  /** Sessions of one member that are kept: restarts in a row. */
  sessionsPerMemberMax: 64,
  /** Times that a session is remembered to have been missed; each is refuted by its next post. */
  lossesPerSessionMax: 8,
  /** Posts kept for late joiners, over all sessions. */
  logMaxPosts: 50_000,
  logMaxBytes: 8 * MiB,
  /** What we said ourselves stays until all linked to us have it, up to this. */
  owedMaxBytes: 4 * MiB,
  /** A week: whoever comes later than that does not catch up with a talk, and members have it in their stores. */
  logMaxAgeMs: 7 * 24 * 3_600_000,
  /** What arrived ahead of a hole, per session. */
  aheadMaxPosts: 256,
  aheadMaxBytes: 1 * MiB,
  /** The same over all sessions, which cost nothing to make. */
  aheadTotalMaxBytes: 8 * MiB,

  // Time.
  /** A peer's clock may run ahead of ours by so much before we stop following it. */
  clockAheadMaxMs: 60_000,

  /** How far a script may talk ahead of the slowest reader, in posts; more waits in its pipe. */
  backlogMaxPosts: 30,
  /** Nodes tried in turn while each says it is full and names others. */
  joinHopsMax: 4,

  // Rooms near by (net/beacon.ts, net/ears.ts).
  /** A look ends after this where nothing answers: unnoticed by a person, and several round trips of a slow Wi-Fi. */
  beaconLookMs: 300,
  /** Wi-Fi loses multicast; the ask is repeated once, and answered once. */
  beaconRepeatMs: 120,
  /** An answer waits so long at most, by chance, so that many do not collide. */
  beaconJitterMaxMs: 60,
  /** A newcomer says so again after this: who opens at the same moment may not have listened yet. */
  beaconAnnounceAgainMs: 1_000,
  /** Cards come and go; looked at so often, and when a stranger speaks, but not more often than that. */
  beaconRefreshMs: 3_000,
  beaconRefreshMinMs: 500,
  /** Answers to everybody, and to one address. A host may hold many nodes that ask. */
  beaconAnswersPerSecond: 64,
  beaconAnswersBurst: 128,
  beaconAnswersPerSourcePerSecond: 8,
  beaconAnswersPerSourceBurst: 32,
  /** Packets looked at; the others are not even decoded. */
  beaconPacketsPerSecond: 2_000,
  beaconPacketsBurst: 8_192,
  /** Sources that are told apart; beyond it the one that was silent longest is forgotten. */
  beaconSourcesMax: 512,
  /** Asks remembered so as to be answered once. */
  beaconAsksMax: 1_024,
  /** Rooms in one look, and those of them that one address may tell of. */
  beaconRoomsMax: 2_048,
  beaconRoomsPerSourceMax: 64,
  /** Ways into one room that are remembered, and names of who is there. */
  beaconAddressesPerRoomMax: 8,
  beaconNamesPerRoomMax: 8,
  /** Thousands of answers arrive within a few ms. */
  beaconReceiveBufferBytes: 1 * MiB,

  // Leaving.
  /** Saying goodbye to slow peers: as long as they make progress, but not longer than this without. */
  leaveTimeoutMs: 5_000,
} as const;

assert(limits.frameMaxBytes > limits.bodyMaxBytes + 29 + 64, "a full post fits a frame");
assert(limits.meshLinksLow <= limits.meshLinksTarget && limits.meshLinksTarget <= limits.meshLinksHigh, "mesh marks");
assert(limits.thinOutMembers > limits.fullMeshLinksMax, "a room at the limit does not swing to and fro");
assert(limits.fullMeshLinksMax < limits.linksMax, "a full mesh leaves room for newcomers");
assert(limits.digestEntriesMax * 24 + 5 <= limits.frameMaxBytes, "a digest fits a frame");
assert(
  limits.backlogMaxPosts * limits.frameMaxBytes + 2 * limits.windowBytes <= limits.owedMaxBytes,
  "what a script says ahead of the slowest reader is kept for it, and what is under way there",
);
assert(limits.owedMaxBytes <= limits.logMaxBytes / 2, "what others say is kept as well");
assert(2 * limits.windowBytes <= limits.heldMaxBytes, "whoever says goodbye while few are behind is heard to the end");
assert(limits.linkDrainedBytes < limits.linkCreditBytes, "who has used up its credit hears when there is some again");
assert(limits.linkCreditBytes < limits.linkQueueMaxBytes, "credit ends before the queue does");
assert(
  limits.pingIdleMs + limits.pingYieldMs + 4_000 <= limits.linkSilenceTimeoutMs,
  "both ends ping, with time to answer, before they give up",
);
assert(
  limits.linkSilenceTimeoutMs + limits.linkTimerGridMs + limits.lostPauseMaxMs < 15_000,
  "a lost member is told of within 15 s",
);
assert(limits.handshakeTimeoutMs < 10_000, "an unreachable host is told of within 10 s");
