// Generates `src/generated` from the contract; `--check` fails when it is not what is there.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const GENERATED = join(PACKAGE, "src/generated");
// The contract, and the google.rpc messages that errors carry.
const SOURCES = ["../../proto", "proto"];
const TEMPLATE = readFileSync(join(PACKAGE, "buf.gen.yaml"), "utf8");
// An update sends back what a newer daemon has in a spec. Elsewhere it would only be in the way of who reads answers.
const KEEPING = "opt:\n      - unknownFields=true\n      - emitImportedFiles=false\n";
const KEEPING_UNKNOWN = TEMPLATE.replace("opt:\n", KEEPING).replace(/include_\w+: true/g, "");
const SENT_BACK = ["--path", "../../proto/runs/v1/schedules.proto", "--template", KEEPING_UNKNOWN];

function filesOf(directory) {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(paths.sort().map((path) => [path.slice(directory.length), readFileSync(path, "utf8")]));
}

function generate(into) {
  for (const source of SOURCES) {
    buf(source, into, ["--template", TEMPLATE]);
  }
  buf(SOURCES[0], into, SENT_BACK);
}

function buf(source, into, options) {
  const all = ["generate", source, "--output", into, ...options];
  execFileSync("node_modules/.bin/buf", all, { cwd: PACKAGE, stdio: "inherit" });
}

function isFresh(into) {
  const [made, present] = [filesOf(into), filesOf(GENERATED)];
  const stale = [...new Set([...made.keys(), ...present.keys()])].filter(
    (path) => made.get(path) !== present.get(path),
  );
  for (const path of stale) console.error(`src/generated${path} is stale; run \`npm run generate\``);
  return stale.length === 0;
}

const scratch = mkdtempSync(join(tmpdir(), "runsd-generate-"));
try {
  generate(scratch);
  if (!process.argv.includes("--check")) {
    rmSync(GENERATED, { recursive: true, force: true });
    cpSync(scratch, GENERATED, { recursive: true });
  } else if (!isFresh(scratch)) {
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
