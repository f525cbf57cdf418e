// Formats the Lua files named as arguments in place; with --check only lists those that differ, and exits 1.
import { readFileSync, writeFileSync } from "node:fs";
import {
  CallParenType,
  CollapseSimpleStatement,
  Config,
  formatCode,
  IndentType,
  LuaVersion,
  OutputVerification,
  QuoteStyle,
} from "@johnnymorganz/stylua";

function style() {
  const config = Config.new();
  config.column_width = 110;
  config.indent_type = IndentType.Spaces;
  config.indent_width = 2;
  config.quote_style = QuoteStyle.AutoPreferDouble;
  config.call_parentheses = CallParenType.Always;
  config.collapse_simple_statement = CollapseSimpleStatement.Never;
  config.syntax = LuaVersion.Lua51;
  return config;
}

// The first line `#!lua flags=…` belongs to Redis and is not Lua.
function format(source) {
  const start = source.startsWith("#!") ? source.indexOf("\n") + 1 : 0;
  return source.slice(0, start) + formatCode(source.slice(start), style(), undefined, OutputVerification.None);
}

const check = process.argv.includes("--check");
const files = process.argv.slice(2).filter((name) => name !== "--check");
let differing = 0;
for (const file of files) {
  const source = readFileSync(file, "utf8");
  let formatted;
  try {
    formatted = format(source);
  } catch (error) {
    console.error(`${file}: ${error}`);
    process.exitCode = 1;
    continue;
  }
  if (formatted === source) continue;
  differing += 1;
  console.log(check ? `would reformat ${file}` : `reformatted ${file}`);
  if (!check) writeFileSync(file, formatted);
}
if (check && differing) {
  console.error(`${differing} of ${files.length} Lua files are not formatted: run \`make format\``);
  process.exitCode = 1;
}
