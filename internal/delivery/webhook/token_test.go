package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// roundTrip is an endpoint without a network, so that its time may be virtual.
type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: -1, Body: readCloser{strings.NewReader(body)}}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

var oauth = OAuth2{TokenURL: "http://tokens/", ClientID: "c", ClientSecret: "very-secret"}

// numbered answers with tokens t1, t2, …, each for an hour.
func numbered(asked *int) roundTrip {
	var mu sync.Mutex
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		*asked++
		time.Sleep(time.Second)
		return answer(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"bearer","expires_in":"3600"}`, *asked)), nil
	}
}

func TestTokensAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := NewTokens(oauth, numbered(&asked))
		all := func(want string) {
			t.Helper()
			var g sync.WaitGroup
			for range 50 {
				g.Go(func() {
					if token, err := s.Token(t.Context()); err != nil || token != want {
						t.Errorf("%q %v, want %s", token, err, want)
					}
				})
			}
			g.Wait()
		}
		all("t1")
		time.Sleep(59 * time.Minute)
		all("t1")
		time.Sleep(30 * time.Second) // so near its end it is replaced
		all("t2")
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestTokenThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, sent := 0, []string{}
		valid := "t1"
		target := &Target{URL: oneURL(t, "http://x/"), Timeout: time.Minute, Tokens: NewTokens(oauth, numbered(&asked)),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				sent = append(sent, token)
				if token == valid {
					return answer(204, ""), nil
				}
				return answer(401, "no: "+token), nil
			})}
		send := func(want int) {
			t.Helper()
			if a := Send(t.Context(), target, message()); a.Status != want {
				t.Fatalf("%d %v, want %d", a.Status, a.Err, want)
			} else if want == 401 && a.Excerpt() != "status 401: no: [masked]" {
				t.Errorf("%q", a.Excerpt())
			}
		}
		send(204)
		time.Sleep(time.Minute)
		valid = "t2"
		send(204) // t1 is refused, t2 is not
		if got := strings.Join(sent, " "); got != "t1 t1 t2" {
			t.Fatalf("sent %s", got)
		}
		time.Sleep(time.Minute)
		valid = ""
		send(401) // t3 is tried, and no other
		for range 10 {
			send(401) // and it is too young to be replaced
		}
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestTokenEndpointThatFails(t *testing.T) {
	long := strings.Repeat("a", maxTokenBytes+1)
	for name, c := range map[string]struct {
		answer *http.Response
		want   string
	}{
		"refuses":       {answer(401, `{"error":"invalid_client","error_description":"very-secret is wrong"}`), "get a token: the token URL answered 401, invalid_client"},
		"fails":         {answer(503, "very-secret"), "get a token: the token URL answered 503"},
		"redirects":     {answer(302, ""), "get a token: the token URL answered 302"},
		"says nothing":  {answer(200, ""), "get a token: the answer holds no token"},
		"has no token":  {answer(200, `{"expires_in":3}`), "get a token: the answer holds no token"},
		"another type":  {answer(200, `{"access_token":"a","token_type":"mac"}`), "get a token: the token is not of type bearer"},
		"a split token": {answer(200, `{"access_token":"a\r\nX: y"}`), "get a token: the token cannot be sent in a header"},
		"a long token":  {answer(200, `{"access_token":"`+long+`"}`), "get a token: the token cannot be sent in a header"},
		"a long answer": {answer(200, strings.Repeat(" ", 2*maxTokenAnswer)), "get a token: the answer is over 65536 bytes"},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			target := &Target{URL: oneURL(t, "http://x/"), Timeout: time.Minute, Tokens: NewTokens(oauth, roundTrip(func(*http.Request) (*http.Response, error) {
				asked++
				return c.answer, nil
			}))}
			for range 5 { // it is left alone for a while
				if a := Send(t.Context(), target, message()); a.Err == nil || !a.Connect || a.Excerpt() != "nothing was sent: "+c.want {
					t.Errorf("%s: %v", name, a.Excerpt())
				}
			}
			if asked != 1 {
				t.Errorf("%s: asked %d times", name, asked)
			}
			time.Sleep(tokenAgain)
			if Send(t.Context(), target, message()); asked != 2 {
				t.Errorf("%s: asked %d times", name, asked)
			}
		})
	}
}

// Who gives up while asking says nothing about the endpoint.
func TestTokenGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := true
		s := NewTokens(oauth, roundTrip(func(r *http.Request) (*http.Response, error) {
			if hang {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answer(200, `{"access_token":"a"}`), nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := s.Token(ctx); err != context.Canceled {
			t.Errorf("%v", err)
		}
		hang = false
		if token, err := s.Token(t.Context()); token != "a" || err != nil {
			t.Errorf("%q %v", token, err)
		}
		time.Sleep(tokenLife)
		hang = true
		if _, err := s.Token(t.Context()); tandem.CodeOf(err) != tandem.CodeUpstream { // by its own limit of time
			t.Errorf("%v", err)
		}
	})
}

func TestLifeOf(t *testing.T) {
	for raw, want := range map[string]time.Duration{"3600": time.Hour, `"60"`: time.Minute, "1.5": 1500 * time.Millisecond, "": tokenLife, "null": tokenLife, "-1": tokenLife, "0": tokenLife,
		"NaN": tokenLife, "1e300": maxTokenLife, `"soon"`: tokenLife} {
		if got := lifeOf([]byte(raw)); got != want {
			t.Errorf("%q: %v", raw, got)
		}
	}
}
