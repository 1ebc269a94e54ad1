// Compiles one description of Kaitai Struct to Python. Standard input: all descriptions, as JSON by their names; argument: which
// one. Standard output: the sources by their file names, as JSON.
const { readFileSync } = require("node:fs");
const compiler = require("kaitai-struct-compiler");

const descriptions = JSON.parse(readFileSync(0, "utf8"));
const importer = { importYaml: (name) => Promise.resolve(descriptions[name]) };

compiler.compile("python", descriptions[process.argv[2]], importer, false).then(
  (sources) => process.stdout.write(JSON.stringify(sources)),
  (error) => {
    process.stderr.write(`${error.message ?? error}\n`);
    process.exitCode = 1;
  },
);
