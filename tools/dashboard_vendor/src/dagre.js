import * as dagre from "@dagrejs/dagre";
export const { graphlib, layout } = dagre.default ?? dagre;
