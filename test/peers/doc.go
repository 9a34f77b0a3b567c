// Package peers measures Tandem's streams beside WebSocket libraries: what a quiet connection costs in memory, and how many
// messages a second reach a thousand clients. docs/adr/0014-streams.md says what for, docs/measured.md has the figures.
//
// Every server runs in a process of its own and has the clients and the floor of package benchstream. A library is used as
// its documentation says, without compression, deadlines or heartbeats; Tandem has all it does for a stream: a log, cursors,
// heartbeats and bounds. What all of them send is a message of Tandem, byte for byte.
package peers
