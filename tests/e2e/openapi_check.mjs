// Holds an OpenAPI document against its standard, and answers of the daemon against the document.
// Validators of others do it; where they live is the first argument. Reads {"document",
// "exchanges"} from standard input and writes a list of findings.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const Ajv = require("ajv/dist/2020").default;
const addFormats = require("ajv-formats").default;
const { Validator } = await import(
  require.resolve("@seriousme/openapi-schema-validator"));

const { document, exchanges } = JSON.parse(readFileSync(0, "utf8"));
const findings = [];

const result = await new Validator().validate(structuredClone(document));
if (!result.valid) findings.push(`not OpenAPI 3.1: ${JSON.stringify(result.errors)}`);

// A client must live with members that it does not know; we must not have any that nobody wrote
// down. So each object is closed for this test.
function close(node) {
  if (Array.isArray(node)) return node.forEach(close);
  if (node === null || typeof node !== "object") return undefined;
  if (node.properties && node.additionalProperties === undefined) node.additionalProperties = false;
  return Object.values(node).forEach(close);
}

const closed = structuredClone(document);
close(closed.components.schemas);
close(closed.paths);
const ajv = new Ajv({ strict: true, strictTypes: false, allErrors: true });
addFormats(ajv);
for (const word of Object.keys(closed)) ajv.addKeyword(word);
ajv.addSchema(closed, "api");

const escape = (part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));

// Nothing, or what is wrong with the body by the schema at this place of the document.
function against(at, body) {
  const check = ajv.getSchema(`api#/${at.map(escape).join("/")}`);
  if (check(JSON.parse(body))) return undefined;
  return `${ajv.errorsText(check.errors, { separator: "\n  " })}: ${body.slice(0, 600)}`;
}

// The data of an event of a stream; OpenAPI 3.1 has no place for its schema.
function judgeEvent({ method, path, event, body }) {
  const at = ["paths", path, method.toLowerCase(), "responses", "200", "content",
    "text/event-stream", "x-events"];
  if (!at.reduce((node, part) => node?.[part], document)?.[event])
    return `event ${event} is not described`;
  const wrong = against([...at, event], body);
  return wrong && `event ${event}: ${wrong}`;
}

function judge({ method, path, status, type, body }) {
  const operation = document.paths[path]?.[method.toLowerCase()];
  if (!operation) return "is not described";
  const name = operation.responses[status] ? String(status) : "default";
  const response = operation.responses[name];
  if (name === "default" && status < 400) return `answers ${status}, which is not described`;
  const types = Object.keys(response.content ?? {});
  if (!body) return undefined;
  const plain = type.split(";")[0];
  const found = types.find((t) => t === plain || t === "*/*");
  if (!found) return `answers ${status} as ${plain}, described are ${types.join(", ") || "none"}`;
  if (!response.content[found].schema || plain !== "application/json") return undefined;
  const at = ["paths", path, method.toLowerCase(), "responses", name, "content", found, "schema"];
  const wrong = against(at, body);
  return wrong && `answers ${status} with ${wrong}`;
}

for (const exchange of exchanges) {
  const wrong = exchange.event ? judgeEvent(exchange) : judge(exchange);
  if (wrong) findings.push(`${exchange.method} ${exchange.path}: ${wrong}`);
}
process.stdout.write(JSON.stringify(findings));
