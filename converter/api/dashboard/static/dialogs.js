// Questions to the operator: a native dialog, which keeps the focus inside and gives it back.

import { fill, h } from "./dom.js";
import { icon } from "./words.js";

let number = 0;

/**
 * Ask before something is done. Resolves to true when it was done, false when the operator went back.
 *
 * `title`, `words` (what will happen, paragraphs), `fields` ({name, label, hint, required, pattern, multiline}),
 * `confirm` (the button), `danger`, `again(values)`: what will happen in one more sentence, asked for a second time.
 * `act(values)` does it; what it throws is shown and the operator may correct it.
 */
export function ask({ title, words, fields = [], confirm, danger = false, again = null, act }) {
  const id = `ask-${(number += 1)}`;
  const dialog = h("dialog", { class: "ask", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-words` });
  const inputs = new Map(fields.map((field) => [field.name, input(id, field)]));
  const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
  const body = h("div", { class: "ask-body" });
  const back = h("button", { type: "button", class: "button" }, "Back");
  const yes = h("button", { type: "submit" });
  const form = h("form", { novalidate: true }, body, trouble, h("div", { class: "ask-buttons" }, back, yes));
  dialog.append(h("h2", { id: `${id}-title` }, title), form);
  let asked = false;

  const first = () => {
    asked = false;
    const paragraphs = [words].flat().map((text) => h("p", {}, text));
    body.replaceChildren(h("div", { id: `${id}-words` }, paragraphs), ...fields.map((one) => row(id, one, inputs.get(one.name))));
    yes.textContent = again ? "Continue" : confirm;
    yes.className = `button ${danger && !again ? "danger" : "primary"}`;
    back.textContent = "Cancel";
  };
  const second = (values) => {
    asked = true;
    const text = h("p", { class: "again", id: `${id}-words`, tabindex: -1 }, icon("warn", 18), h("span", {}, again(values)));
    body.replaceChildren(text);
    yes.textContent = confirm;
    yes.className = `button ${danger ? "danger" : "primary"}`;
    back.textContent = "Back";
    text.focus();
  };
  const say = (text) => {
    trouble.hidden = !text;
    fill(trouble, text ? [icon("warn"), h("span", {}, text)] : []);
  };

  return new Promise((resolve) => {
    let done = false;
    let busy = false;
    back.addEventListener("click", () => (asked ? (say(""), first(), [...inputs.values()][0]?.focus()) : dialog.close()));
    dialog.addEventListener("cancel", (event) => busy && event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (busy) return;
      say("");
      const wrong = asked ? null : fields.find((field) => !check(id, field, inputs.get(field.name)));
      if (wrong) {
        inputs.get(wrong.name).focus();
        return;
      }
      const values = Object.fromEntries([...inputs].map(([name, one]) => [name, one.value.trim()]));
      if (again && !asked) {
        second(values);
        return;
      }
      busy = true;
      yes.disabled = back.disabled = true;
      try {
        await act(values);
        done = true;
        dialog.close();
      } catch (error) {
        if (!("status" in error)) throw error;
        if (asked && inputs.has(error.field)) first();
        say(error.message);
        inputs.get(error.field)?.focus();
      } finally {
        busy = false;
        yes.disabled = back.disabled = false;
      }
    });
    first();
    document.body.append(dialog);
    dialog.showModal();
    if (danger && !fields.length) back.focus();
    else [...inputs.values()][0]?.focus();
  });
}

function input(id, { name, multiline, required, value, autocomplete, password, mono }) {
  const common = { id: `${id}-${name}`, name, "aria-required": required ? "true" : null, "aria-describedby": `${id}-${name}-hint` };
  const element = multiline
    ? h("textarea", { ...common, rows: 3 })
    : h("input", { ...common, type: password ? "password" : "text", autocomplete: autocomplete ?? "off", spellcheck: "false" });
  if (mono) element.classList.add("mono");
  element.value = value ?? "";
  return element;
}

function row(id, { name, label, hint, required }, element) {
  return h(
    "div",
    { class: "field" },
    h("label", { for: element.id }, label, required ? null : h("span", { class: "optional" }, " optional")),
    element,
    h("p", { class: "hint", id: `${id}-${name}-hint` }, hint ?? ""),
  );
}

function check(id, { name, label, hint, required, pattern, wrong }, element) {
  const text = element.value.trim();
  const problem = !text ? (required ? `${label} is missing.` : "") : pattern && !pattern.test(text) ? wrong : "";
  element.setAttribute("aria-invalid", problem ? "true" : "false");
  const place = element.ownerDocument.getElementById(`${id}-${name}-hint`);
  place.textContent = problem || (hint ?? "");
  place.classList.toggle("wrong", Boolean(problem));
  return !problem;
}

/** Ask for the token. It cannot be passed over: without it there is nothing to show. */
export function askToken(refused) {
  return new Promise((resolve) => {
    const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
    const trouble = h("p", { class: "trouble", role: "alert", hidden: !refused }, icon("warn"), h("span", {}, "That token was not accepted."));
    const form = h(
      "form",
      {},
      h("p", { id: "token-words" }, "This server wants a token. It is kept in this tab until you close it, and sent to this server alone."),
      h("div", { class: "field" }, h("label", { for: "token" }, "Token"), field, h("p", { class: "hint" }, "The key ", h("code", {}, "token"), " of ", h("code", {}, "api"), ".")),
      trouble,
      h("div", { class: "ask-buttons" }, h("button", { type: "submit", class: "button primary" }, "Open the dashboard")),
    );
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "token-title", "aria-describedby": "token-words" }, h("h2", { id: "token-title" }, "Token needed"), form);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => dialog.isConnected && !field.value && dialog.showModal());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = field.value.trim();
      if (!given) return;
      dialog.remove();
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}
