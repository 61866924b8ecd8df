"use strict";
// Shows openapi.json and sends a form. Everything that comes from outside is set as text, never as HTML.

const made = (tag, text, ...children) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};

const row = (...cells) => made("tr", "", ...cells.map((cell) => made("td", cell)));

const told = (schema) => {
  const kinds = (schema.anyOf || [schema]).map((one) =>
    one.enum ? one.enum.join(" or ") : one.const !== undefined ? String(one.const) : one.format === "binary" ? "file" : one.type);
  return kinds.filter((kind) => kind !== "null").join(", ");
};

const table = (...rows) => made("table", "", ...rows);

function routeOf(path, method, route) {
  const title = made("h2", "", made("span", method.toUpperCase()), " " + path);
  title.firstChild.className = "method";
  const article = made("article", "", title, made("p", (route.description || route.summary || "").replaceAll("`", "")));
  const form = route.requestBody?.content?.["multipart/form-data"]?.schema;
  if (form) {
    const rows = Object.entries(form.properties).map(([name, schema]) =>
      row(name, told(schema) + (schema.default !== undefined && schema.default !== null && schema.default !== "" ? `, default ${schema.default}` : ""), schema.description || ""));
    article.append(made("h3", "Form fields"), table(...rows));
  }
  const answers = Object.entries(route.responses).map(([status, answer]) => row(status, answer.description.replaceAll("`", "")));
  article.append(made("h3", "Answers"), table(...answers));
  return article;
}

function fieldOf(name, schema) {
  const input = made("input");
  input.name = name;
  if (schema.format === "binary") input.type = "file";
  else if (schema.type === "boolean") { input.type = "checkbox"; input.value = "true"; }
  else if (schema.default !== undefined && schema.default !== null) input.value = schema.default;
  return made("label", "", made("span", name), input);
}

async function restore(event) {
  event.preventDefault();
  const answer = document.getElementById("answer");
  const picture = document.getElementById("result");
  const saved = document.getElementById("saved");
  picture.hidden = saved.hidden = true;
  answer.textContent = "working ...";
  try {
    const reply = await fetch("/api/restore", { method: "POST", body: new FormData(event.target) });
    if (!reply.ok) {
      const text = await reply.text();
      answer.textContent = `${reply.status}: ${reply.headers.get("content-type") === "application/json" ? JSON.parse(text).error : text}`;
      return;
    }
    const blob = await reply.blob();
    answer.textContent = `${reply.status}: ${blob.type}, ${blob.size} bytes, ${decodeURIComponent(reply.headers.get("x-undegrade-weights") || "")}`;
    picture.src = saved.href = URL.createObjectURL(blob);
    saved.download = decodeURIComponent((reply.headers.get("content-disposition") || "").split("''")[1] || "restored");
    picture.hidden = blob.type === "image/tiff"; /* which browsers do not show */
    saved.hidden = false;
  } catch (error) {
    answer.textContent = `no answer: ${error}`;
  }
}

async function start() {
  for (const node of document.querySelectorAll(".origin")) node.textContent = location.origin;
  const routes = document.getElementById("routes");
  const described = await (await fetch("/api/openapi.json")).json();
  routes.replaceChildren(...Object.entries(described.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) => routeOf(path, method, route))));
  const form = described.paths["/api/restore"].post.requestBody.content["multipart/form-data"].schema;
  document.getElementById("fields").append(...Object.entries(form.properties).map(([name, schema]) => fieldOf(name, schema)));
  document.getElementById("form").addEventListener("submit", restore);
}

start().catch((error) => { document.getElementById("routes").textContent = `openapi.json cannot be read: ${error}`; });
