// Package console is the web console: pages on the API listener that show what a server does, and with which it is operated.
//
// It reads and acts through the API as everybody does: each page makes its requests with the Go client, against the API's handler in
// the same process, as the caller. So a page shows nothing, and a button does nothing, that the caller's token could not. Pages are
// HTML without scripts, whole when they arrive; two small modules keep what is shown up to date and follow a topic live. Nothing is
// loaded from elsewhere, and the Content-Security-Policy allows nothing else.
//
// Where the API has tokens, somebody logs in with one. What a browser then holds is the name of a session, which lives 12 hours at
// most in this process and ends with the token; the token itself is not kept. Every form carries a secret of its session. Where the
// API has none, there is no login.
//
// A Console starts nothing. What it holds is bounded: sessions, the counts that rates are worked out from, and the lag that pages showed.
package console
