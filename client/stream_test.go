package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func sseEvent(id, cursor string) string {
	return fmt.Sprintf("id: %s\ndata: {\"specversion\":\"1.0\",\"id\":%q,\ndata: \"source\":\"/t\",\"type\":\"x\"}\n\n", cursor, id)
}

// script answers each connection with the next of its texts, and notes what was asked for.
func script(asked *[]string, texts ...string) http.HandlerFunc {
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Query().Encode())
		if n >= len(texts) {
			answerProblem(w, tandem.Errorf(tandem.CodeNotFound, "no topic"))
			return
		}
		text := texts[n]
		n++
		if text == "503" {
			answerProblem(w, tandem.Errorf(tandem.CodeUnavailable, "starting"))
			return
		}
		w.Header().Set("Content-Type", tandem.MediaSSE)
		io.WriteString(w, text)
	}
}

func TestStreamResumes(t *testing.T) {
	var asked []string
	c, slept := stand(t, Options{}, script(&asked,
		"retry: 1000\nid: c0\n\n"+sseEvent("1", "c1")+sseEvent("2", "c2")+": beat\n\nid: c3\n\nid: c4\ndata: {\"cut", // breaks within a message
		"503",
		"event: gap\nid: c9\ndata: {\"reason\":\"retention\",\"from\":\"c3\",\"to\":\"c9\"}\n\nevent: later\ndata: x\n\n"+sseEvent("3", "c10"),
		"event: reconnect\nid: c11\ndata: {\"reason\":\"draining\"}\n\n"+sseEvent("9", "c99"),
	))
	var got, progress []string
	interrupted := 0
	opts := StreamOptions{Interrupted: func(error, time.Duration) { interrupted++ }, Progress: func(at tandem.Cursor) { progress = append(progress, string(at)) }}
	var end error
	for m, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}, Start: tandem.Start{Earliest: true}}, opts) {
		switch {
		case err != nil:
			end = err
		case m.Gap != nil:
			got = append(got, "gap "+m.Gap.Reason+"@"+string(m.Cursor))
		default:
			got = append(got, m.Event.ID+"@"+string(m.Cursor))
		}
	}
	if want := "1@c1 2@c2 gap retention@c9 3@c10"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if want := "from=earliest&topic=a cursor=c3&topic=a cursor=c3&topic=a cursor=c10&topic=a cursor=c11&topic=a"; strings.Join(asked, " ") != want {
		t.Errorf("asked %v", asked)
	}
	if tandem.CodeOf(end) != tandem.CodeNotFound || interrupted != 4 || len(*slept) != 4 || strings.Join(progress, " ") != "c0 c3" {
		t.Errorf("ended with %v after %d interruptions, slept %v, progress %v", end, interrupted, *slept, progress)
	}
	if s := (*slept)[0]; s > time.Second {
		t.Errorf("slept %s, the server said at most 1s", s)
	}
}

// TestStreamOfTheLast: the last events are asked for until there is a place to go on from, how to treat the slow each time.
func TestStreamOfTheLast(t *testing.T) {
	var asked []string
	c, _ := stand(t, Options{}, script(&asked, "503", "retry: 1\n\n", "id: c0\n\n", sseEvent("1", "c1")+"event: reconnect\ndata: {\"reason\":\"slow\"}\n\n"))
	var end error
	for _, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}, Last: 3, Slow: "disconnect"}, StreamOptions{}) {
		end = err
	}
	if want := "last=3&slow=disconnect&topic=a last=3&slow=disconnect&topic=a last=3&slow=disconnect&topic=a " +
		"cursor=c0&slow=disconnect&topic=a cursor=c1&slow=disconnect&topic=a"; strings.Join(asked, " ") != want {
		t.Errorf("asked %v", asked)
	}
	if tandem.CodeOf(end) != tandem.CodeNotFound {
		t.Error(end)
	}
}

func TestStreamEndsWithItsLoop(t *testing.T) {
	var asked []string
	gone := make(chan struct{})
	c, _ := stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		script(&asked, sseEvent("1", "c1")+sseEvent("2", "c2"))(w, r)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	for m, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}}, StreamOptions{}) {
		if err != nil || m.Event.ID != "1" {
			t.Errorf("%+v %v", m, err)
		}
		break
	}
	<-gone // the connection was closed
	if len(asked) != 1 {
		t.Error(asked)
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	var asked []string
	c, _ := stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		script(&asked, sseEvent("1", "c1"))(w, r)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var end error
	for _, err := range c.Stream(ctx, Query{Topics: []string{"a"}}, StreamOptions{}) {
		cancel()
		end = err
	}
	if !errors.Is(end, context.Canceled) {
		t.Errorf("%v", end)
	}
}

func TestStreamGivesUpAtTheBeginningOnly(t *testing.T) {
	var asked []string
	c, _ := stand(t, Options{Retries: 2}, script(&asked, "503", "503", "503", "503"))
	var end error
	for _, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}}, StreamOptions{}) {
		end = err
	}
	if tandem.CodeOf(end) != tandem.CodeUnavailable || len(asked) != 3 {
		t.Errorf("%v after %d", end, len(asked))
	}
}

func FuzzSSE(f *testing.F) {
	f.Add("id: c\ndata: a\ndata:b\r\n\r\nretry: 10\n\n:x\n\nevent: gap\ndata\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := newSSEReader(strings.NewReader(text))
		for {
			m, err := r.next()
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			if len(m.data) > len(text) {
				t.Fatal("data out of nothing")
			}
		}
	})
}
