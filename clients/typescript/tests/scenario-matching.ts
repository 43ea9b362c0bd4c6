/** Expectations of the scenarios in tests/scenarios, held against values. */
type Members = Record<string, unknown>;
type Matcher = (argument: never, actual: unknown, where: string) => string;

/** Says what differs; empty when `actual` fits. */
export function mismatch(expected: unknown, actual: unknown, where = "it"): string {
  if (isObject(expected)) {
    const isPattern = Object.keys(expected).some((name) => name.startsWith("$"));
    return isPattern ? patternMismatch(expected, actual, where) : objectMismatch(expected, actual, where);
  }
  if (Array.isArray(expected)) return listMismatch(expected, actual, where);
  return expected === actual ? "" : `${where} is ${show(actual)}, expected ${show(expected)}`;
}

export function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function show(value: unknown): string {
  return JSON.stringify(value, (_name, item: unknown) => (typeof item === "bigint" ? `${item}n` : item));
}

function patternMismatch(expected: Members, actual: unknown, where: string): string {
  return first(Object.entries(expected), ([name, argument]) => {
    const matcher = MATCHERS[name];
    if (!matcher) throw new Error(`no such matcher: ${name}`);
    return matcher(argument as never, actual, where);
  });
}

function objectMismatch(expected: Members, actual: unknown, where: string): string {
  if (!isObject(actual)) return `${where} is ${show(actual)}, expected an object`;
  return first(Object.entries(expected), ([name, value]) =>
    Object.hasOwn(actual, name)
      ? mismatch(value, actual[name], `${where}.${name}`)
      : `${where} has no "${name}": ${show(actual)}`,
  );
}

function listMismatch(expected: unknown[], actual: unknown, where: string): string {
  return (
    lengthMismatch(expected.length, actual, where) ||
    first(expected, (item, index) => mismatch(item, (actual as unknown[])[index], `${where}[${index}]`))
  );
}

function lengthMismatch(count: number, actual: unknown, where: string): string {
  if (!Array.isArray(actual)) return notAList(actual, where);
  return actual.length === count ? "" : `${where} has ${actual.length} items, expected ${count}: ${show(actual)}`;
}

function isSame(expected: unknown, actual: unknown): boolean {
  if (isObject(expected) && isObject(actual)) {
    const names = Object.keys(expected);
    return (
      names.length === Object.keys(actual).length &&
      names.every((name) => Object.hasOwn(actual, name) && isSame(expected[name], actual[name]))
    );
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    return expected.length === actual.length && expected.every((item, index) => isSame(item, actual[index]));
  }
  return expected === actual;
}

function notAList(actual: unknown, where: string): string {
  return `${where} is ${show(actual)}, expected a list`;
}

function first<Item>(items: Item[], find: (item: Item, index: number) => string): string {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found) return found;
  }
  return "";
}

const MATCHERS: Record<string, Matcher> = {
  $exactly: (expected: unknown, actual, where) =>
    isSame(expected, actual) ? "" : `${where} is ${show(actual)}, expected exactly ${show(expected)}`,
  $contains: (part: string, actual, where) =>
    typeof actual === "string" && actual.includes(part) ? "" : `${where} is ${show(actual)}, without ${show(part)}`,
  $matches: (pattern: string, actual, where) =>
    typeof actual === "string" && new RegExp(`^(?:${pattern})$`, "su").test(actual)
      ? ""
      : `${where} is ${show(actual)}, which ${show(pattern)} does not fit`,
  $one_of: (choices: unknown[], actual, where) =>
    choices.some((choice) => !mismatch(choice, actual))
      ? ""
      : `${where} is ${show(actual)}, expected one of ${show(choices)}`,
  $not: (expected: unknown, actual, where) =>
    mismatch(expected, actual) ? "" : `${where} is ${show(actual)}, expected anything else`,
  $length: lengthMismatch,
  $each: (expected: unknown, actual, where) =>
    Array.isArray(actual)
      ? first(actual, (item, index) => mismatch(expected, item, `${where}[${index}]`))
      : notAList(actual, where),
  $last: (expected: unknown, actual, where) =>
    Array.isArray(actual) && actual.length > 0
      ? mismatch(expected, actual.at(-1), `${where}, last`)
      : `${where} is ${show(actual)}, expected a list with items`,
  $exactly_one: (expected: unknown, actual, where) => {
    if (!Array.isArray(actual)) return notAList(actual, where);
    const count = actual.filter((item) => !mismatch(expected, item)).length;
    return count === 1 ? "" : `${where} has ${count} items that fit ${show(expected)}, expected one: ${show(actual)}`;
  },
  $numbered_from: (start: number, actual, where) => {
    const items = actual as { event?: { event_id: number }; event_id: number }[];
    const ids = items.map((item) => (item.event ?? item).event_id);
    return ids.every((id, index) => id === start + index) ? "" : `${where} has the ids ${ids}, expected ${start}, …`;
  },
};
