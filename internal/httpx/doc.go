// Package httpx is what the rooms that speak HTTP share. Out: problems (RFC 9457) and JSON. In: bodies within a limit,
// media types and Accept (RFC 9110), Prefer (RFC 7240), entity tags. It holds no state and starts nothing.
package httpx
