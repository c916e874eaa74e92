/**
 * Hello with the same packages as ours: imported eagerly, and nothing done with them.
 */
import { Database } from "bun:sqlite";
import { TextPrompt } from "@clack/core";
import { intro } from "@clack/prompts";
import colors from "picocolors";

/** So that no bundler takes them away. */
export const kept = [Database, TextPrompt, intro, colors];

await Bun.write(Bun.stdout, "hello\n");
