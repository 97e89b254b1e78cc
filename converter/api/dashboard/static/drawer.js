// One conversion, over whatever is shown: its explain record and its events, live.

import { ACTIONS } from "./actions.js";
import { acting, fill, h } from "./dom.js";
import { explained, heading } from "./explain.js";
import { failed, loading } from "./parts.js";
import { Resource } from "./resources.js";
import { changed, go } from "./router.js";
import { icon } from "./words.js";

export class Drawer {
  constructor() {
    this.id = null;
    this.record = null;
    this.events = [];
    this.head = h("div", { class: "drawer-title" });
    this.body = h("div", { class: "drawer-body" });
    const close = h("button", { type: "button", class: "icon-button", "aria-label": "Close" }, icon("close", 16));
    this.dialog = h("dialog", { class: "drawer", "aria-labelledby": "drawer-name" }, h("div", { class: "drawer-head" }, this.head, close), this.body);
    document.body.append(this.dialog);
    close.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.id && this.leave());
    acting(this.dialog, ACTIONS);
  }

  /** Show this conversion; null shows none. */
  show(id) {
    if (id === this.id) return;
    this.id = id;
    for (const one of this.resources ?? []) one.close();
    this.resources = [];
    if (!id) {
      this.dialog.close();
      this.opener?.isConnected && this.opener.focus({ preventScroll: true });
      return;
    }
    this.record = null;
    this.events = [];
    fill(this.head, h("h2", { id: "drawer-name", tabindex: -1 }, "Conversion"));
    this.body.replaceChildren(loading(5));
    this.body.scrollTop = 0;
    if (!this.dialog.open) {
      this.opener = document.activeElement;
      this.dialog.showModal();
    }
    this.head.querySelector("h2").focus({ preventScroll: true });
    this.ask(encodeURIComponent(id));
  }

  ask(id) {
    const concerns = (event) => event.conversionId === this.id;
    this.resources = [
      new Resource(`/conversions/${id}/explain`, {
        every: 5000,
        concerns,
        onData: (record) => {
          this.record = record;
          this.draw();
        },
        onError: (error) => this.record ?? this.body.replaceChildren(failed(error)),
      }),
      new Resource(`/events/history?conversionId=${id}&limit=200`, {
        every: 15_000,
        concerns,
        onData: (body) => {
          this.events = body.events;
          this.draw();
        },
      }),
    ];
  }

  draw() {
    if (!this.record) return;
    if (this.body.firstElementChild?.classList.contains("loading")) this.body.replaceChildren();
    fill(this.head, heading(this.record));
    fill(this.body, explained(this.record, this.events));
  }

  /** Closed by Escape, by the button or beside it: the place in the URL follows. */
  leave() {
    this.opener?.isConnected && this.opener.focus({ preventScroll: true });
    go(changed({ show: null }));
  }
}
