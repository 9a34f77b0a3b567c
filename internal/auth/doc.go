// Package auth says who calls the API listener, and what they may do.
//
// Callers are told apart by static bearer tokens (RFC 6750), each with a name and roles. Without tokens everybody who can
// connect may do everything, which is why CheckListen then allows loopback addresses only. Since any web page can make a
// browser send requests to 127.0.0.1, requests are also refused
//
//   - without tokens, unless Host is a loopback name or address: a page whose name was rebound to 127.0.0.1 shows its own
//     name there. With tokens the token is the proof, and a page has none.
//   - always, when a browser says that another origin sent them (Origin, Sec-Fetch-Site): reading and writing alike, but
//     for a link that is followed to a page, whose answer the other origin does not see.
//
// Of a token only the SHA-256 is held, and neither appears in an error or a log line. The package starts nothing.
package auth
