package httpx

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// What a client may do with its copy of an answer (RFC 9111, section 5.2.2). Answers are private, since who may have them was decided for
// this client alone.
const (
	CacheRevalidate = "private, no-cache"                 // keep it, and ask whether it still holds
	CacheForLong    = "private, max-age=86400, immutable" // it will not change
)

// NotModified answers a GET or HEAD with 304 and reports true where If-None-Match names etag, "" being no tag (RFC 9110, sections 13.1.2 and
// 15.4.5). Otherwise the answer is still to be written; Cache-Control and ETag, if there is one, are set in both cases. What else a 304 is to say, such as
// Retry-After or the next place, is set before.
func NotModified(w http.ResponseWriter, r *http.Request, etag, cache string) bool {
	h := w.Header()
	h.Set("Cache-Control", cache)
	if etag != "" {
		h.Set("ETag", etag)
	}
	if !Has(r, etag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// Has reports whether a GET or HEAD says that the client has the content whose entity tag is etag, compared weakly.
func Has(r *http.Request, etag string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	v := r.Header.Values("If-None-Match")
	return len(v) > 0 && matchETag(v, etag, true)
}

// SetRetryAfter says how long a client is advised to wait before it asks again, in whole seconds, at least one (RFC 9110, section 10.2.3).
func SetRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(max(1, int((d+time.Second-1)/time.Second))))
}

// SetWaited says that a preference to wait was followed (RFC 7240, section 3).
func SetWaited(h http.Header, wait time.Duration) {
	h.Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
}

// Precondition checks If-Match and If-None-Match of a request that changes something against the entity tag of what is there, "" for nothing
// (RFC 9110, section 13.1). The tag of a declaration that is shown with its status has a second half, see StatusETag, which does not count
// here. Code: Precondition.
func Precondition(h http.Header, etag string) error {
	if v := declared(h.Values("If-Match")); len(v) > 0 && !matchETag(v, etag, false) {
		e := tandem.Errorf(tandem.CodePrecondition, "If-Match does not name what is there")
		if etag == "" {
			return e.WithHint("there is nothing of this name")
		}
		return e.WithHint("it was changed: read it again; its ETag is %s now", etag)
	}
	if v := declared(h.Values("If-None-Match")); len(v) > 0 && matchETag(v, etag, true) {
		return tandem.Errorf(tandem.CodePrecondition, "If-None-Match names what is there")
	}
	return nil
}

// StatusETag is the strong tag of a declaration, whose own tag is given, "" for none, together with a status that changes without it; body is
// both. Every change of the body changes the tag, for If-None-Match of a GET; for If-Match only its first half counts, since the declaration
// is all that a PUT can change.
func StatusETag(declaration string, body []byte) string {
	tag := tandem.DerivedID(string(body))
	if d := strings.Trim(declaration, `"`); d != "" {
		tag = d + "." + tag
	}
	return `"` + tag + `"`
}

// declared cuts the second halves off entity tags.
func declared(values []string) []string {
	out := make([]string, len(values))
	for i, line := range values {
		parts := strings.Split(line, ",")
		for j, part := range parts {
			if before, _, ok := strings.Cut(part, "."); ok {
				parts[j] = before + `"`
			}
		}
		out[i] = strings.Join(parts, ",")
	}
	return out
}

// matchETag compares strongly (If-Match) or weakly (If-None-Match), RFC 9110, section 8.8.3.2. A * names whatever is there, and nothing within a list.
func matchETag(values []string, etag string, weak bool) bool {
	if etag == "" {
		return false
	}
	if len(values) == 1 && values[0] == "*" {
		return true
	}
	for _, line := range values {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimSpace(part)
			if weak {
				part = strings.TrimPrefix(part, "W/")
			}
			if part == strings.TrimPrefix(etag, "W/") && (weak || !strings.HasPrefix(etag, "W/")) {
				return true
			}
		}
	}
	return false
}
