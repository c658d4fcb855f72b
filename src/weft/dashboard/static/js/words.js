// Why Envoy failed a request, in words. Source: Envoy, "Access logging", response flags.

const FLAGS = {
  UH: "none of the service's endpoints was healthy",
  UF: "the connection to the endpoint could not be made",
  UO: "too many requests were under way (circuit breaker)",
  NR: "no route fits this request",
  URX: "all retries failed, or too many connection attempts",
  NC: "the service that the route names is not known",
  DT: "the request or connection took longer than allowed in all",
  DC: "the caller hung up before the answer",
  LH: "the service itself failed a health check",
  UT: "the endpoint did not answer in time",
  LR: "the proxy reset the connection",
  UR: "the endpoint reset the connection",
  UC: "the endpoint closed the connection before it answered",
  DI: "a delay was injected on purpose (fault injection)",
  FI: "an error was injected on purpose (fault injection)",
  RL: "a rate limit was reached",
  UAEX: "the external authorizer refused it",
  RLSE: "the rate limit service failed",
  IH: "a header had a value that is not allowed",
  SI: "nothing was sent for too long",
  DPE: "the caller broke the protocol",
  UPE: "the endpoint broke the protocol",
  UMSDR: "it took longer than the longest stream may",
  OM: "the proxy is short of memory",
  DF: "the name could not be resolved (DNS)",
  DO: "the proxy is overloaded and dropped it",
  DR: "the caller reset the stream",
  NFCF: "the service is not known to the proxy",
};
const DETAILS = [
  [/^via_upstream$/, (status) => `the application itself answered ${status}`],
  [/^rbac_access_denied_matched_policy\[(.*)\]/, (_, rule) => `an authorization policy denies it (${rule})`],
  [/^rbac_access_denied/, () => "an authorization policy denies it"],
  [/^jwt_authn_access_denied\{(.*)\}/, (_, why) => `the token (JWT) was not accepted: ${why.replaceAll("_", " ")}`],
  [/^ext_authz_denied/, () => "the external authorizer refused it"],
  [/^request_rate_limited|^local_rate_limited/, () => "a rate limit was reached"],
  [/^fault_filter_abort/, () => "an error was injected on purpose (fault injection)"],
  [/^direct_response/, () => "a route answers it itself"],
  [/^route_not_found/, () => "no route fits this request"],
  [/^cluster_not_found/, () => "the service that the route names is not known"],
  [/^no_healthy_upstream/, () => "none of the service's endpoints was healthy"],
  [/^(?:upstream_)?response_timeout|^upstream_per_try_timeout/, () => "the endpoint did not answer in time"],
  [/^upstream_reset_before_response_started\{(.*)\}/, (_, why) =>
    `the endpoint broke off before it answered: ${why.replaceAll("_", " ")}`],
  [/^maglev|^overflow|^upstream_max_stream/, () => "a limit of connections was reached"],
];

/** What came of a request and whose fault it is, as a sentence. */
export function reason(request) {
  for (const [pattern, words] of DETAILS) {
    const found = pattern.exec(request.details ?? "");
    if (found) return words(request.status, found[1] ?? "");
  }
  const flags = (request.flags ?? "").split(",").map((flag) => FLAGS[flag]).filter(Boolean);
  if (flags.length) return flags.join("; ");
  if (request.grpcStatus && request.grpcStatus !== "0") return `gRPC status ${request.grpcStatus}`;
  return request.details?.replaceAll("_", " ") || "no reason is known";
}
