/**
 * The fields of a request, checked for what cannot be sent at all: an InvalidRequestError then names
 * every field at fault, as the daemon would.
 */
import type { Names } from "./conversion.js";
import { writeDocument } from "./documents.js";
import { InvalidRequestError, type FieldViolation } from "./errors.js";
import type { Timestamp } from "./generated/google/protobuf/timestamp.js";

const INT32_LIMIT = 2 ** 31;
const FRACTION_AND_OFFSET = /:\d\d(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i;

export class Fields {
  private readonly violations: FieldViolation[] = [];

  /** Programs that are not type-checked must learn of a misspelt option, too. */
  knownOnly(options: object, known: ReadonlySet<string>): void {
    for (const name of Object.keys(options)) {
      if (!known.has(name)) this.refuse(name, `is no option; the options are ${[...known].join(", ")}`);
    }
  }

  text(field: string, value: string | undefined): string {
    if (value === undefined || typeof value === "string") return value ?? "";
    return this.refuse(field, `a ${typeof value} is not a string`, "");
  }

  number<Missing>(field: string, value: number | undefined, missing: Missing): number | Missing {
    if (value === undefined) return missing;
    return Number.isFinite(value) ? value : this.refuse(field, `${value} is not a number`, missing);
  }

  integer<Missing>(field: string, value: number | undefined, missing: Missing): number | Missing {
    if (value === undefined) return missing;
    const fits = Number.isInteger(value) && value >= -INT32_LIMIT && value < INT32_LIMIT;
    return fits ? value : this.refuse(field, `${value} is not a 32-bit integer`, missing);
  }

  /** For int64 fields, as far as a number is exact. */
  longInteger(field: string, value: number | undefined): number {
    if (value === undefined) return 0;
    return Number.isSafeInteger(value) ? value : this.refuse(field, `${value} is not a safe integer`, 0);
  }

  flag(field: string, value: boolean | undefined): boolean {
    if (value === undefined || typeof value === "boolean") return value ?? false;
    return this.refuse(field, `a ${typeof value} is not a boolean`, false);
  }

  document(field: string, value: unknown): string {
    return this.attempt(field, "", () => writeDocument(value));
  }

  named<Name extends string>(field: string, value: Name | undefined, names: Names<Name>): number {
    return value === undefined ? 0 : this.attempt(field, 0, () => names.number(value));
  }

  /** A Date has milliseconds, a string all its digits. One without an offset would be another time elsewhere. */
  time(field: string, value: Date | string | undefined): Timestamp | undefined {
    if (value === undefined) return undefined;
    const milliseconds = new Date(value).getTime();
    if (Number.isNaN(milliseconds)) return this.refuse(field, `${String(value)} is not a time`, undefined);
    const seconds = Math.floor(milliseconds / 1000);
    if (typeof value !== "string") return { seconds, nanos: (milliseconds - seconds * 1000) * 1_000_000 };
    const [, fraction = "", offset] = FRACTION_AND_OFFSET.exec(value) ?? [];
    if (!offset) return this.refuse(field, `"${value}" has no offset; write it as 2027-03-28T12:00:00Z`, undefined);
    return { seconds, nanos: Number(fraction.slice(0, 9).padEnd(9, "0")) };
  }

  refuse(field: string, description: string): void;
  refuse<Instead>(field: string, description: string, instead: Instead): Instead;
  refuse<Instead>(field: string, description: string, instead?: Instead): Instead | undefined {
    this.violations.push({ field, description });
    return instead;
  }

  /** Throws InvalidRequestError if anything was refused. */
  check(): void {
    if (this.violations.length > 0) throw new InvalidRequestError(this.violations);
  }

  private attempt<Value>(field: string, instead: Value, make: () => Value): Value {
    try {
      return make();
    } catch (error) {
      // A document that refers to itself or is nested too deeply, or a toJSON that throws.
      return this.refuse(field, error instanceof Error ? error.message : String(error), instead);
    }
  }
}
