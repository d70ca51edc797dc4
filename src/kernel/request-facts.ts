/** What the edge has established about a request; every later room reads this and never the raw socket. */
export interface RequestFacts {
  /** Request id: the client's never, ours always; 128 random bits in base64url or a counter-based unique id. */
  readonly id: string;
  /** W3C `traceparent` of the client, when well-formed; passed on. */
  readonly traceparent: string | undefined;
  readonly method: string;
  /** The request target exactly as it came. */
  readonly rawTarget: string;
  /** One of `server.public_url`: the origin the request came to. */
  readonly origin: string;
  /** The client's address, after `server.trusted_proxies`. */
  readonly clientIp: string;
  /** Whether it is a navigation: SPEC "Vocabulary". */
  readonly navigation: boolean;
  /** An unsafe method sent as a browser sends a form: answered by a page, never redirected, its body never echoed. */
  readonly formNavigation?: boolean;
  /** Whether it asks for a WebSocket. */
  readonly upgrade: boolean;
}
