package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tandem-hybrid/tandem"
)

// echo answers each line with a receipt as it comes, or a problem for lines that say so.
func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", tandem.MediaNDJSON)
		lines := bufio.NewScanner(r.Body)
		for n := 1; lines.Scan(); n++ {
			if strings.Contains(lines.Text(), "wrong") {
				fmt.Fprintf(w, `{"line":%d,"type":"urn:tandem:problem/invalid","title":"t","status":400,"detail":"no type"}`+"\n", n)
			} else {
				fmt.Fprintf(w, `{"id":"%d","topic":"orders","partition":0,"offset":%d,"cursor":"c","duplicate":false}`+"\n", n, n)
			}
			rc.Flush()
		}
	}
}

func TestReceiptsAreReadWhileEventsAreSent(t *testing.T) {
	c, _ := stand(t, Options{}, echo(t))
	in, out := io.Pipe()
	answered := make(chan string)
	go func() {
		defer out.Close()
		for _, line := range []string{`{"a":1}`, `{"wrong":1}`, `{"a":2}`} {
			fmt.Fprintln(out, line)
			<-answered // the next line is sent only after this one was answered
		}
	}()
	var got []string
	n, err := c.PublishNDJSON(t.Context(), "orders", in, Attributes{"type": "x"}, func(r tandem.Receipt, err error) error {
		got = append(got, fmt.Sprintf("%d %v", r.Offset, err))
		answered <- r.ID
		return nil
	})
	if err != nil || n != 3 || strings.Join(got, ", ") != "1 <nil>, 0 line 2: no type, 3 <nil>" {
		t.Errorf("%d %q %v", n, got, err)
	}
}

func TestNDJSONEndsWithItsCaller(t *testing.T) {
	c, _ := stand(t, Options{}, echo(t))
	enough := errors.New("enough")
	n, err := c.PublishNDJSON(t.Context(), "orders", strings.NewReader(strings.Repeat("{}\n", 1000)), nil, func(tandem.Receipt, error) error { return enough })
	if n != 1 || !errors.Is(err, enough) {
		t.Errorf("%d %v", n, err)
	}
	torn := errors.New("torn")
	_, err = c.PublishNDJSON(t.Context(), "orders", io.MultiReader(strings.NewReader("{}\n{}\n"), iotest.ErrReader(torn)), nil, func(tandem.Receipt, error) error { return nil })
	if !errors.Is(err, torn) {
		t.Errorf("%v", err)
	}
	c, _ = stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		answerProblem(w, tandem.Errorf(tandem.CodeNotFound, "no topic"))
	})
	if _, err := c.PublishNDJSON(t.Context(), "orders", strings.NewReader("{}\n"), nil, nil); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("%v", err)
	}
}
