package httpx

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// SessionCookie is the cookie of a session of the console. Browsers send it to every port of its host: no service may see it.
const SessionCookie = "tandem_session"

// MediaType returns the media type of a Content-Type without its parameters, in lower case.
func MediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// Accept returns the media type of offers, in lower case and without parameters, that a request prefers (RFC 9110,
// section 12.5.1): of two that it likes the same, the earlier; the first when it says nothing; "" when it takes none.
func Accept(h http.Header, offers ...string) string {
	values := h["Accept"]
	if len(values) == 0 {
		return offers[0]
	}
	best, bestQ := "", 0
	for _, offer := range offers {
		if q := quality(values, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}

// quality returns how much a media type is wanted, in thousandths: what the most specific range says.
func quality(values []string, offer string) int {
	q, precision := 0, 0
	main, _, _ := strings.Cut(offer, "/")
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			media, params, _ := strings.Cut(part, ";")
			media = strings.ToLower(strings.TrimSpace(media))
			p := 0
			switch media {
			case offer:
				p = 3
			case main + "/*":
				p = 2
			case "*/*", "*":
				p = 1
			}
			if p > precision {
				q, precision = weight(params), p
			}
		}
	}
	return q
}

// weight reads the parameter q of a range; 1 where there is none or it cannot be read.
func weight(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil && f >= 0 && f <= 1 {
				return int(f*1000 + 0.5)
			}
		}
	}
	return 1000
}

// Prefer is what a client would like (RFC 7240). What is not known or cannot be read is left out, as the RFC says.
type Prefer struct {
	RespondAsync bool
	Wait         time.Duration // meaningful when HasWait
	HasWait      bool
	Return       string // "minimal", "representation" or ""
}

// ParsePrefer reads the Prefer headers of a request. The first of repeated preferences counts.
func ParsePrefer(h http.Header) Prefer {
	var p Prefer
	for _, line := range h["Prefer"] {
		for part := range strings.SplitSeq(line, ",") {
			pref, _, _ := strings.Cut(part, ";")
			name, value, _ := strings.Cut(pref, "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.RespondAsync = true
			case "wait":
				if s, err := strconv.ParseUint(value, 10, 31); err == nil && !p.HasWait {
					p.Wait, p.HasWait = time.Duration(s)*time.Second, true
				}
			case "return":
				if v := strings.ToLower(value); p.Return == "" && (v == "minimal" || v == "representation") {
					p.Return = v
				}
			}
		}
	}
	return p
}
