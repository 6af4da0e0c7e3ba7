// Holds custom resources to the schemas and the types of their definitions:
//   node custom.mjs FILE…
// The schemas know ranges and patterns but take fields that they do not know; the
// compiler knows every field. What is wrong is printed, one line each.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};
const HERE = fileURLToPath(new URL(".", import.meta.url));

/** Where the definition of a resource is; nothing if it is none of ours to check. */
function definition(resource) {
  const [group, version] = String(resource.apiVersion).split("/");
  const found = PACKAGES[group];
  return found && `@kubernetes-models/${found}/${group}/${version}/${resource.kind}`;
}

const faults = [];
const sources = [];
const names = [];
for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const resource = document.toJS();
    const module = resource && definition(resource);
    if (!module) continue;
    const name = `${basename(file)}: ${resource.kind} ${resource.metadata?.name}`;
    try {
      const { [resource.kind]: Model } = await import(module);
      new Model(resource).validate();
    } catch (error) {
      faults.push(`${name}: ${error.message}`);
      continue;
    }
    // One line each, so that the compiler's line says which.
    const type = `import("${module}").I${resource.kind}`;
    sources.push(`export const r${names.length}: ${type} = ${JSON.stringify(resource)};`);
    names.push(name);
  }
}

const folder = mkdtempSync(join(HERE, "node_modules", ".custom-"));
try {
  const source = join(folder, "resources.ts");
  writeFileSync(source, sources.join("\n"));
  const compiler = join(HERE, "node_modules", ".bin", "tsc");
  const options = ["--noEmit", "--skipLibCheck", "--strict", "--module", "nodenext", "--pretty", "false"];
  const answer = spawnSync(compiler, [...options, source], { encoding: "utf8" });
  for (const line of answer.stdout.split("\n")) {
    const told = /resources\.ts\((\d+),\d+\): error \w+: (.*)/.exec(line);
    if (told) faults.push(`${names[told[1] - 1]}: ${told[2]}`);
  }
  if (answer.status !== 0 && faults.length === 0) faults.push(`tsc: ${answer.stdout}${answer.stderr}${answer.error ?? ""}`);
} finally {
  rmSync(folder, { recursive: true });
}

for (const fault of faults) console.log(fault);
console.error(`${names.length} custom resources looked at`);
process.exit(faults.length ? 1 : 0);
