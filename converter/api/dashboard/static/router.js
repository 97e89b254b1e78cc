// Where the operator is, as the URL's hash has it: `#/conversions?state=FAILED&show=cv_…`. Every place can be linked to
// and the back button works, the drawer included (`show`).

export const VIEWS = ["overview", "conversions", "rates", "failovers", "review", "alerts"];

/** The place that a hash names. */
export function read(hash = location.hash) {
  const [path, text = ""] = hash.replace(/^#\/?/, "").split("?");
  return { view: VIEWS.includes(path) ? path : VIEWS[0], query: new URLSearchParams(text) };
}

/** The hash of a place. Empty values are left out. */
export function link(view, values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

/** The hash of this place with some values changed; null takes one away. */
export function changed(values) {
  const { view, query } = read();
  const all = {};
  for (const name of new Set(query.keys())) all[name] = query.getAll(name);
  return link(view, { ...all, ...values });
}

/** Go to a hash; `replace` leaves no step for the back button. */
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hash;
  }
}
