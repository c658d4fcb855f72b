// Preact with its hooks and htm's templates bound to it.
import { h } from "preact";
import htm from "htm";
export { h, Fragment, render, createContext } from "preact";
export { useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext } from "preact/hooks";
export const html = htm.bind(h);
