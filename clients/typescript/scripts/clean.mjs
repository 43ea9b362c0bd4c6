// Removes the directories that are given, inside this package: a stale file would be shipped or tested.
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

for (const directory of process.argv.slice(2)) {
  rmSync(fileURLToPath(new URL(`../${directory}`, import.meta.url)), { recursive: true, force: true });
}
