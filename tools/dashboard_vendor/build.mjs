// Builds the dashboard's libraries into src/weft/dashboard/static/vendor, with their licences.
// The same package-lock.json gives the same bytes.
import { build } from "esbuild";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const out = join(here, "../../src/weft/dashboard/static/vendor");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const result = await build({
  entryPoints: readdirSync(join(here, "src")).map((name) => join(here, "src", name)),
  outdir: out, bundle: true, minify: true, format: "esm", target: "es2022",
  legalComments: "none", charset: "utf8", metafile: true, logLevel: "warning",
});
copyFileSync(join(here, "node_modules/uplot/dist/uPlot.min.css"), join(out, "uplot.css"));
copyFileSync(join(here, "node_modules/@xterm/xterm/css/xterm.css"), join(out, "xterm.css"));

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/);
  if (found) packages.add(found[1]);
}
const parts = [];
for (const name of [...packages].sort()) {
  const folder = join(here, "node_modules", name);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (!file || !existsSync(join(folder, file))) throw new Error(`${name} has no licence file`);
  parts.push(`=== ${name} ${about.version} (${about.license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`);
}
writeFileSync(join(out, "LICENSES.txt"), parts.join("\n"));
