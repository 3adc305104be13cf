// @ts-check
// The few words that scripts need, by their key: templates with the attribute data-texts hold them.

/** @type {Map<string, string>} */
const words = new Map();
for (const template of /** @type {NodeListOf<HTMLTemplateElement>} */ (document.querySelectorAll("template[data-texts]"))) {
  for (const item of template.content.querySelectorAll("[data-key]")) {
    words.set(item.getAttribute("data-key") ?? "", item.textContent ?? "");
  }
}
export const language = document.documentElement.lang || "en";
const plural = new Intl.PluralRules(language);

/**
 * The text of that key with these values in it; the key itself where there is none.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
  const counted = typeof values.n === "number" ? `${key}.${plural.select(values.n)}` : key;
  const text = words.get(counted) ?? words.get(`${key}.other`) ?? words.get(key) ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}
