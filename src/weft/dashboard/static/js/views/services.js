import { html, useState } from "/vendor/preact.js";
import { useObjects, usePage } from "/js/live.js";
import { services } from "/js/mesh.js";
import { Card, Empty, Page, Refusal, Search, fits } from "/js/parts.js";
import { ServiceTable, WINDOW } from "/js/views/overview.js";
import { Service } from "/js/views/service.js";

export function Services({ parts }) {
  const [filter, setFilter] = useState("");
  const topology = usePage(WINDOW);
  const known = useObjects("/api/v1/services");
  if (parts.length === 2) return html`<${Service} key=${parts.join()} namespace=${parts[0] === "outside" ? "" : parts[0]} name=${parts[1]} />`;
  const found = services(topology.page, known.items).filter((each) => fits(filter, each.name, each.namespace));
  const ready = topology.ready && known.ready;
  return html`<${Page} title="Services" aside=${html`<${Search} value=${filter} set=${setFilter} />`}>
    <${Refusal} error=${topology.error} what="traffic" /><${Refusal} error=${known.error} what="services" />
    <${Card}>${ready ? html`<${ServiceTable} found=${found} />` : html`<${Empty} wait>Looking…<//>`}<//><//>`;
}
