/** JSON in and out, and no digit lost. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { readDocument, writeDocument } from "../dist/documents.js";

test("integers that a number cannot hold are bigints, all else is as JSON.parse has it", () => {
  const text =
    '{"big":9223372036854775807,"edge":9007199254740991,"past":-9007199254740992,"float":12345678901234567.5,' +
    '"exponent":12345678901234567e3,"string":"9223372036854775807 \\" 12345678901234567890","12345678901234567890":1,' +
    '"__proto__":{"a":18446744073709551616},"twice":1,"twice":2}';
  const read = readDocument(text) as Record<string, unknown>;
  const plain = JSON.parse(text) as Record<string, unknown>;
  assert.equal(read["big"], 9223372036854775807n);
  assert.equal(read["past"], -9007199254740992n);
  assert.deepEqual(Object.entries(read).find(([name]) => name === "__proto__")?.[1], { a: 2n ** 64n });
  for (const name of ["edge", "float", "exponent", "string", "12345678901234567890", "twice"]) {
    assert.equal(read[name], plain[name], name);
  }
  assert.deepEqual(Object.keys(read), Object.keys(plain));
});

test("what was read is written as it was", () => {
  for (const text of ["9223372036854775807", '[-9223372036854775808,"1","x1n"]', '{"a":[1e+300,0.1,"\u2028"]}']) {
    assert.equal(writeDocument(readDocument(text)), text);
  }
});

test("a document that is not there is null; what JSON cannot hold is refused", () => {
  assert.equal(readDocument(""), null);
  assert.deepEqual([writeDocument(null), writeDocument(undefined)], ["", ""]);
  assert.equal(writeDocument({ at: new Date(0), left: undefined }), '{"at":"1970-01-01T00:00:00.000Z"}');
  const round: unknown[] = [];
  round.push(round);
  for (const value of [NaN, [Infinity], () => 1, Symbol("s"), round])
    assert.throws(() => writeDocument(value), TypeError);
});
