"use strict";

// An element with properties and children; text goes in as text, never as HTML.
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function resolved(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((place, name) => place[name.replace(/~1/g, "/")], api);
}

// What a body could look like: every property once, as deep as `depth`.
function example(api, given, depth) {
  const schema = resolved(api, given);
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return example(api, schema.anyOf[0], depth);
  switch (schema.type) {
    case "object": {
      const made = {};
      if (depth === 0) return made;
      const names = schema.required || Object.keys(schema.properties || {});
      for (const name of names) made[name] = example(api, schema.properties[name], depth - 1);
      return made;
    }
    case "array": return depth === 0 ? [] : [example(api, schema.items, depth - 1)];
    case "integer": case "number": return schema.minimum > 0 ? schema.minimum : 0;
    case "boolean": return false;
    default: return "";
  }
}

// A multi-segment variable keeps its slashes.
function encoded(parameter, value) {
  const text = encodeURIComponent(value);
  return parameter["x-multi-segment"] ? text.replace(/%2F/g, "/") : text;
}

function target(path, inputs) {
  const query = new URLSearchParams();
  for (const { parameter, field } of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, () => encoded(parameter, field.value));
    if (parameter.in !== "query" || field.value === "") continue;
    if (parameter.style === "deepObject") {
      for (const [key, value] of new URLSearchParams(field.value)) query.append(`${parameter.name}[${key}]`, value);
    } else if (parameter.schema.type === "array") {
      for (const value of field.value.split(",")) query.append(parameter.name, value);
    } else query.append(parameter.name, field.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function send(method, url, headers, body, output) {
  output.textContent = `${method} ${url}\n`;
  try {
    const answer = await fetch(url, { method, headers, body });
    output.textContent += `${answer.status}\n\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) output.append(part.value);
  } catch (error) {
    output.append(`${error}`);
  }
}

function shown(api, path, method, operation) {
  const form = element("form");
  const more = (operation.description || "").slice((operation.summary || "").length).trim();
  for (const paragraph of more ? more.split(/\n\s*\n/) : []) form.append(element("p", {}, paragraph));
  const inputs = operation.parameters.map((parameter) => {
    const hint = parameter.style === "deepObject" ? "key=value&key=value" : parameter.schema.type === "array" ? "a,b" : "";
    const required = parameter.required === true;
    const field = element("input", { placeholder: hint, required, title: parameter.description || "" });
    form.append(element("label", {}, `${parameter.name} (${parameter.in})`, field));
    return { parameter, field };
  });
  let body;
  if (operation.requestBody) {
    const schema = operation.requestBody.content["application/json"].schema;
    body = element("textarea", { value: JSON.stringify(example(api, schema, 2), null, 2), spellcheck: false });
    form.append(body);
  }
  const output = element("pre");
  form.append(element("button", {}, "Send"), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const headers = body ? { "Content-Type": "application/json" } : {};
    const key = document.getElementById("key").value;
    if (key) headers.Authorization = `Bearer ${key}`;
    for (const { parameter, field } of inputs)
      if (parameter.in === "header" && field.value) headers[parameter.name] = field.value;
    send(method.toUpperCase(), target(path, inputs), headers, body && body.value, output);
  });
  const title = element("summary", {}, element("b", {}, method.toUpperCase()), element("code", {}, path));
  if (operation.summary) title.append(element("span", {}, operation.summary));
  return element("details", {}, title, form);
}

async function main() {
  const api = await (await fetch("/openapi.json")).json();
  const operations = document.getElementById("operations");
  const sections = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags[0];
      if (!sections.has(tag)) {
        sections.set(tag, element("section", {}, element("h2", {}, tag)));
        operations.append(sections.get(tag));
      }
      sections.get(tag).append(shown(api, path, method, operation));
    }
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const details of operations.querySelectorAll("details"))
      details.hidden = !details.firstChild.textContent.toLowerCase().includes(wanted);
    for (const section of sections.values()) section.hidden = !section.querySelector("details:not([hidden])");
  });
}

main();
