/**
 * JSON text on the wire, native values for the caller. Integers that a number cannot hold exactly are
 * bigints, in both directions, so that no digit is lost.
 *
 * The native parser and writer do the work, and a big integer passes them as a marked string: nothing
 * else about JSON (duplicate keys, `__proto__`, escapes) can then differ from what everybody expects.
 */
import { randomUUID } from "node:crypto";

export type Json = null | boolean | number | bigint | string | Json[] | JsonObject;
export type JsonObject = { [name: string]: Json };

const POSSIBLY_UNSAFE = /\d{16}/;
const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;
const INTEGER = /^-?\d+$/;

/** Null for the empty text. */
export function readDocument(text: string): Json {
  if (!text) return null;
  return POSSIBLY_UNSAFE.test(text) ? readExactly(text) : (JSON.parse(text) as Json);
}

/** Null for the empty text, and for what is no object. */
export function readObject(text: string): JsonObject | null {
  const value = readDocument(text);
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
}

/** Empty for undefined and null: no document. Throws TypeError for what JSON cannot hold. */
export function writeDocument(value: unknown): string {
  if (value === undefined || value === null) return "";
  const mark = randomUUID();
  let marked = false;
  const text = JSON.stringify(value, (_name, item: unknown) => {
    if (typeof item === "number" && !Number.isFinite(item)) throw new TypeError(`JSON has no ${item}`);
    if (typeof item !== "bigint") return item;
    marked = true;
    return mark + item;
  }) as string | undefined;
  if (text === undefined) throw new TypeError(`a ${typeof value} is not a JSON value`);
  return marked ? text.replaceAll(new RegExp(`"${mark}(-?\\d+)"`, "g"), "$1") : text;
}

function readExactly(text: string): Json {
  // Unguessable, so that no string of the document can pass for a mark.
  const mark = randomUUID();
  const marked = text.replace(STRING_OR_NUMBER, (token) => (isUnsafeInteger(token) ? `"${mark}${token}"` : token));
  return JSON.parse(marked, (_name, item: unknown) =>
    typeof item === "string" && item.startsWith(mark) ? BigInt(item.slice(mark.length)) : item,
  ) as Json;
}

function isUnsafeInteger(token: string): boolean {
  return INTEGER.test(token) && !Number.isSafeInteger(Number(token));
}
