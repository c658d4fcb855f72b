// YAML in CodeMirror: an editor, and two texts compared. It lives in a shadow root, where its style
// sheets need no exception in the page's policy.
import { html, useEffect, useRef } from "/vendor/preact.js";
import { load } from "/js/load.js";

async function mount(host, { text, before, change, label, submit }) {
  const { basicSetup, EditorView, EditorState, HighlightStyle, foldEffect, indentWithTab, keymap, syntaxHighlighting, tags, unifiedMergeView, yaml } = await load("/vendor/codemirror.js");
  const shadow = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  shadow.replaceChildren();
  const theme = EditorView.theme({
    "&": { height: "100%", fontSize: "13px", color: "var(--ink)", backgroundColor: "var(--box)" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", overflow: "auto" }, ".cm-content": { caretColor: "var(--accent)" },
    ".cm-gutters": { backgroundColor: "var(--raised)", color: "var(--quiet)", border: "none" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--raised) 55%, transparent)" },
    "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--accent) 28%, transparent) !important" },
    ".cm-cursor": { borderLeftColor: "var(--accent)" }, "&.cm-focused": { outline: "3px solid var(--accent)", outlineOffset: "-3px" },
    ".cm-changedLine": { backgroundColor: "var(--good-soft) !important" }, ".cm-deletedChunk": { backgroundColor: "var(--bad-soft) !important" },
    ".cm-changedText": { background: "color-mix(in srgb, var(--good) 28%, transparent) !important" }, ".cm-deletedText": { background: "color-mix(in srgb, var(--bad) 28%, transparent) !important" },
    ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: '"…" !important' }, ".cm-collapsedLines": { background: "var(--raised) !important", color: "var(--quiet) !important" }, ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--ink)" },
  });
  const colours = HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent)" }, { tag: tags.string, color: "var(--good)" },
    { tag: [tags.number, tags.bool, tags.null], color: "var(--warn)" }, { tag: tags.comment, color: "var(--quiet)", fontStyle: "italic" },
  ]);
  const readOnly = !change;
  const extensions = [
    basicSetup, yaml(), theme, syntaxHighlighting(colours), EditorView.contentAttributes.of({ "aria-label": label }), EditorView.lineWrapping,
    keymap.of([{ key: "Mod-Enter", run: () => { submit?.(); return true; } }, indentWithTab]),
    EditorView.updateListener.of((update) => { if (update.docChanged) change?.(update.state.doc.toString()); }),
    ...(readOnly ? [EditorState.readOnly.of(true)] : []),
    ...(before === undefined ? [] : [unifiedMergeView({ original: before, mergeControls: false, gutter: true, collapseUnchanged: { margin: 3, minSize: 6 } })]),
  ];
  const view = new EditorView({ parent: shadow, root: shadow, state: EditorState.create({ doc: text, extensions }) });
  // What kubectl notes for itself is long and nobody's business here.
  const noted = /last-applied-configuration: (?:\||")/.exec(text);
  if (noted) {
    const line = view.state.doc.lineAt(noted.index);
    const to = line.text.endsWith("|") ? view.state.doc.line(line.number + 1).to : line.to;
    view.dispatch({ effects: foldEffect.of({ from: noted.index + "last-applied-configuration:".length, to }) });
  }
  host.editor = view;
  return view;
}

/** `change(text)` makes it writable; `before` shows what is different from it. */
export function Editor({ text, before, change, label = "YAML", submit }) {
  const host = useRef(), view = useRef(null), latest = useRef({});
  latest.current = { change, submit };
  useEffect(() => {
    let gone = false;
    const through = { label, text, before, submit: () => latest.current.submit?.(), change: change && ((next) => latest.current.change?.(next)) };
    mount(host.current, through).then((made) => { if (gone) made.destroy(); else view.current = made; });
    return () => { gone = true; view.current?.destroy(); view.current = null; };
  }, [text, before, Boolean(change)]);
  return html`<div class="editor ${before === undefined ? "" : "diff"}"><div class="shadow" ref=${host}></div></div>`;
}
