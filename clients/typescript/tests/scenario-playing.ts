/** Plays the scenarios of tests/scenarios to a real daemon. What it does not know is an error. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { RunsError, type RunEvent, type RunsClient, type WatchedEvent } from "runsd-client";

import { REPOSITORY, type Daemon } from "./daemon.js";
import { CALLS, plainError, STREAMS } from "./scenario-calls.js";
import { isObject, mismatch, show } from "./scenario-matching.js";

export const SCENARIOS = join(REPOSITORY, "tests/scenarios");

export interface Scenario {
  name: string;
  why: string;
  steps: Step[];
}

interface Step {
  call?: string;
  with?: Record<string, unknown>;
  as?: string;
  expect?: unknown;
  error?: unknown;
  on?: Reaction[];
  until?: string;
  impatient?: boolean;
  value?: unknown;
  daemon?: string;
  file?: string;
  at_once?: Step[];
  repeat?: number;
  steps?: Step[];
}

type Known = Record<string, unknown>;

interface Reaction {
  event: string;
  do: Step[];
}

// The members that a step may have, by the one that says what it is.
const MEMBERS = {
  call: ["call", "with", "as", "expect", "error", "on", "until", "impatient"],
  value: ["value", "expect"],
  daemon: ["daemon"],
  file: ["file"],
  at_once: ["at_once"],
  repeat: ["repeat", "steps"],
};
type Kind = keyof typeof MEMBERS;

/** All there are, with the name of their file. */
export function scenarios(): [string, Scenario][] {
  const files = readdirSync(SCENARIOS).filter((name) => name.endsWith(".json") && name !== "matching.json");
  return files.sort().flatMap((file) => {
    const found = JSON.parse(readFileSync(join(SCENARIOS, file), "utf8")) as Scenario[];
    return found.map((scenario): [string, Scenario] => [file.slice(0, -".json".length), scenario]);
  });
}

/** The value with its references, integers and files filled in. */
export function valueOf(value: unknown, known: Known, directory: string): unknown {
  if (typeof value === "string" && value.startsWith("$")) return part(known, value.slice(1));
  if (Array.isArray(value)) return value.map((item) => valueOf(item, known, directory));
  if (!isObject(value)) return value;
  if (typeof value["$integer"] === "string") return integer(value["$integer"]);
  if (typeof value["$file"] === "string") return join(directory, value["$file"]);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, valueOf(item, known, directory)]));
}

function part(known: Known, path: string): unknown {
  return path.split(".").reduce<unknown>((value, name) => {
    assert.ok(typeof value === "object" && value !== null && Object.hasOwn(value, name), `there is no $${path}`);
    return (value as Known)[name];
  }, known);
}

/** As the client has it. */
function integer(digits: string): number | bigint {
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits);
}

/** Plays one scenario; `directory` is for its files. `impatient` is a client without retries. */
export class Player {
  private readonly known: Known = { scenario: randomUUID() };

  constructor(
    private readonly client: RunsClient,
    private readonly impatient: RunsClient,
    private readonly daemon: Daemon,
    private readonly directory: string,
  ) {}

  async play(steps: Step[]): Promise<void> {
    for (const step of steps) await this.playStep(step);
  }

  private async playStep(step: Step): Promise<void> {
    const kind = (Object.keys(MEMBERS) as Kind[]).find((name) => name in step);
    assert.ok(kind, `no such step: ${show(step)}`);
    const unknown = Object.keys(step).filter((name) => !MEMBERS[kind].includes(name));
    assert.deepEqual(unknown, [], `what a step "${kind}" has not`);
    await this.steps[kind](step as never);
  }

  private readonly steps: Record<Kind, (step: never) => unknown> = {
    call: (step: Step & { call: string }) => this.call(step),
    value: ({ value, expect }: Step) => this.check(expect, this.value(value), "the value"),
    daemon: ({ daemon }: { daemon: string }) => this.handleDaemon(daemon),
    file: ({ file }: { file: string }) => writeFileSync(join(this.directory, file), ""),
    at_once: ({ at_once }: { at_once: Step[] }) => Promise.all(at_once.map((each) => this.playStep(each))),
    repeat: async ({ repeat, steps }: { repeat: number; steps: Step[] }) => {
      for (let count = 0; count < repeat; count += 1) await this.play(steps);
    },
  };

  private async handleDaemon(what: string): Promise<void> {
    assert.ok(["kill", "start", "restart"].includes(what), `a daemon cannot ${what}`);
    if (what !== "start") await this.daemon.kill();
    if (what !== "kill") await this.daemon.start();
  }

  private async call(step: Step & { call: string }): Promise<void> {
    let answer: unknown;
    try {
      answer = await this.answer(step);
    } catch (error) {
      if (!(error instanceof RunsError)) throw error;
      assert.ok("error" in step, `${step.call}: ${show(plainError(error))}`);
      return this.check(step.error, plainError(error), `the error of ${step.call}`);
    }
    assert.ok(!("error" in step), `${step.call} was to fail, and gave ${show(answer)}`);
    if (step.as) this.known[step.as] = answer;
    if ("expect" in step) this.check(step.expect, answer, step.call);
  }

  private async answer({ call: name, with: names, on, until, impatient }: Step & { call: string }): Promise<unknown> {
    const client = impatient ? this.impatient : this.client;
    const stream = STREAMS[name];
    if (stream) return this.follow(stream(client, this.value(names) as never), on ?? [], until);
    assert.ok(!on && !until, `${name} is no stream`);
    const call = CALLS[name];
    assert.ok(call, `no such call: ${name}`);
    return call(client, this.value(names) as never);
  }

  private async follow(
    stream: AsyncGenerator<RunEvent | WatchedEvent>,
    on: Reaction[],
    until: string | undefined,
  ): Promise<unknown[]> {
    const [seen, reactions] = [[] as unknown[], [...on]];
    for await (const item of stream) {
      seen.push(item);
      const { event_type } = "event" in item ? item.event : item;
      if (event_type === reactions[0]?.event) await this.play(reactions.shift()!.do);
      if (event_type === until) break;
    }
    assert.deepEqual(reactions, [], `events that did not come: ${show(seen)}`);
    return seen;
  }

  private value(value: unknown): unknown {
    return valueOf(value, this.known, this.directory);
  }

  private check(expected: unknown, actual: unknown, where: string): void {
    const difference = mismatch(this.value(expected), actual, where);
    assert.ok(!difference, difference);
  }
}
