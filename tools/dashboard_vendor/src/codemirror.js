export { basicSetup } from "codemirror";
export { EditorView, keymap } from "@codemirror/view";
export { EditorState } from "@codemirror/state";
export { indentWithTab } from "@codemirror/commands";
export { yaml } from "@codemirror/lang-yaml";
export { unifiedMergeView } from "@codemirror/merge";
export { HighlightStyle, foldEffect, syntaxHighlighting } from "@codemirror/language";
export { tags } from "@lezer/highlight";
