// Package tracecontext is W3C Trace Context (Recommendation of 23 November 2021) as requests and events carry it: read where something
// comes in, begun where there is none, stored with the event, and passed on unchanged. What is not valid counts as absent, and fails
// nothing (sections 3.2.2 and 3.3.1).
package tracecontext

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

const (
	parentLen  = 55  // of version 00
	maxParent  = 110 // leaves later versions as much again
	maxMembers = 32  // of a tracestate (section 3.3.1.1)
	maxMember  = 256 // bytes of a key, and of a value (section 3.3.1.3)
)

// FromHeader returns the trace context of a request; both are empty if it has none.
func FromHeader(h http.Header) (parent, state string) {
	v := h["Traceparent"]
	if len(v) != 1 || !valid(v[0]) {
		return "", ""
	}
	return v[0], stateOf(strings.Join(h["Tracestate"], ","))
}

// Set puts a trace context that FromHeader or an event gave on a request.
func Set(h http.Header, parent, state string) {
	h["Traceparent"] = []string{parent}
	if state != "" {
		h["Tracestate"] = []string{state}
	} else {
		delete(h, "Tracestate")
	}
}

// ID returns the trace id of a valid traceparent, "" of an empty one.
func ID(parent string) string {
	if parent == "" {
		return ""
	}
	return parent[3:35]
}

// Begin returns the traceparent of what begins a trace. It depends on nothing but the flow, so that all that begins in one flow is in one
// trace. The trace id of a flow that Tandem named is its UUID, so that each leads to the other; the span id is the random end of it. It is marked
// sampled, as a service that began it itself would by default.
func Begin(flow string) string {
	t := [parentLen]byte{0: '0', 1: '0', 2: '-', 35: '-', 52: '-', 53: '0', 54: '1'}
	if isUUID(flow) {
		n := 3
		for _, part := range [...]string{flow[:8], flow[9:13], flow[14:18], flow[19:23], flow[24:]} {
			n += copy(t[n:], part)
		}
		copy(t[36:52], t[19:35]) // begins with the variant of a UUID, so that it is not all zero
		return string(t[:])
	}
	sum := sha256.Sum256([]byte(flow))
	hex.Encode(t[3:35], sum[:16])
	hex.Encode(t[36:52], sum[16:24])
	return string(t[:])
}

// isUUID reports whether flow is the text form of a UUID of RFC 9562, in lower case.
func isUUID(flow string) bool {
	if len(flow) != 36 || flow[8] != '-' || flow[13] != '-' || flow[18] != '-' || flow[23] != '-' || !strings.Contains("89ab", flow[19:20]) {
		return false
	}
	return isHex(flow[:8]) && isHex(flow[9:13]) && isHex(flow[14:18]) && isHex(flow[19:23]) && isHex(flow[24:])
}

// Adopt gives an event that has no valid trace of its own this one, which may be none.
func Adopt(m *tandem.Meta, parent, state string) {
	if !valid(m.TraceParent) {
		if m.TraceParent, m.TraceState = parent, state; !valid(parent) {
			m.TraceParent, m.TraceState = "", ""
		}
	}
	m.TraceState = stateOf(m.TraceState)
}

// valid follows section 3.2.2. Later versions may have more behind the flags.
func valid(s string) bool {
	if len(s) < parentLen || len(s) > maxParent || len(s) > parentLen && (s[:2] == "00" || s[parentLen] != '-') ||
		s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := parentLen; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return isHex(s[:2]) && isHex(s[3:35]) && isHex(s[36:52]) && isHex(s[53:55]) &&
		s[:2] != "ff" && !isZero(s[3:35]) && !isZero(s[36:52])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(s string) bool { return strings.Trim(s, "0") == "" }

// stateOf returns a tracestate without the space and the empty members that lists may have, and "" for one that is not valid (section
// 3.3.1), or longer than an attribute of an event may be.
func stateOf(s string) string {
	if s == "" || len(s) > tandem.MaxAttributeBytes {
		return ""
	}
	members, tidy := 0, true
	for member := range strings.SplitSeq(s, ",") {
		trimmed := strings.Trim(member, " \t")
		tidy = tidy && trimmed == member && member != ""
		if trimmed == "" {
			continue
		}
		if members++; members > maxMembers || !isMember(trimmed) {
			return ""
		}
	}
	if tidy {
		return s
	}
	all := strings.Split(s, ",")
	for i := range all {
		all[i] = strings.Trim(all[i], " \t")
	}
	return strings.Join(slices.DeleteFunc(all, func(member string) bool { return member == "" }), ",")
}

// isMember takes the keys of level 2 of the specification, which are all those of level 1 and some more.
func isMember(s string) bool {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || len(key) > maxMember || value == "" || len(value) > maxMember || strings.Contains("_-*/@", key[:1]) {
		return false
	}
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.Contains("_-*/@", key[i:i+1]) {
			return false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return true
}
