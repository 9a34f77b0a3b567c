package consumer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func post(t *testing.T, c *Consumer, body string) int {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/events", strings.NewReader(body)))
	return w.Code
}

func taken(t *testing.T, c *Consumer) (list []Taken) {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/taken", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// Each unit is remembered once, with how often it came; a request that is refused leaves nothing behind.
func TestUnitsAreRememberedOnce(t *testing.T) {
	c, err := Open(Plain, filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"id":"a","data":{"unit":"7"}}`:                  http.StatusNoContent,
		` [{"data":{"unit":"7"}}, {"data":{"unit":"0"}}]`: http.StatusNoContent,
		`[{"data":{"unit":"8"}}, {"data":{}}]`:            http.StatusBadRequest,
		`{"data":`:                                        http.StatusBadRequest,
		strings.Repeat(" ", maxBody+1):                    http.StatusBadRequest,
	} {
		if got := post(t, c, body); got != want {
			t.Errorf("%.60s: %d, want %d", body, got, want)
		}
	}
	list := taken(t, c)
	if len(list) != 2 || list[0].Unit != "0" || list[0].Times != 1 || list[1].Unit != "7" || list[1].Times != 2 || list[0].At == 0 {
		t.Errorf("%+v", list)
	}
}

// Each kind does its work once for each unit, however often it is told of it.
func TestKindsWork(t *testing.T) {
	dir := t.TempDir()
	events := []string{`{"subject":"a","data":{"unit":"1","longitude":13.401,"latitude":52.5}}`,
		`{"subject":"b","data":{"unit":"2","longitude":13.409,"latitude":52.5}}`,
		`{"subject":"a","data":{"unit":"3","longitude":-0.001,"latitude":52.5}}`,
		`{"subject":"b","data":{"unit":"2","longitude":20,"latitude":52.5}}`} // a repeat
	for _, kind := range []string{Map, Surge, History} {
		c, err := Open(kind, filepath.Join(dir, kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if got := post(t, c, e); got != http.StatusNoContent {
				t.Fatalf("%s: %d", kind, got)
			}
		}
		here, there := cell{1340, 5250}, cell{-1, 5250}
		switch kind {
		case Map:
			if c.latest["a"] != there || c.latest["b"] != here {
				t.Errorf("the map has %v", c.latest)
			}
		case Surge:
			if c.cells[here] != 1 || c.cells[there] != 1 {
				t.Errorf("the cells have %v", c.cells)
			}
		case History: // what is in it need not be closed to be there
			files, _ := filepath.Glob(filepath.Join(dir, "history-*"))
			if len(files) != 1 {
				t.Fatalf("a history has %d files", len(files))
			}
			body, err := os.ReadFile(files[0])
			if lines := strings.Split(strings.TrimSpace(string(body)), "\n"); err != nil || !slices.Equal(lines, events) {
				t.Errorf("the history has %q, %v", lines, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if kind == History && post(t, c, events[0]) != http.StatusInternalServerError {
			t.Error("a history that cannot store says that it has")
		}
	}
	if _, err := Open("what", filepath.Join(dir, "what")); err == nil {
		t.Error("a kind that there is not was opened")
	}
	if _, err := Open(Plain, dir); err == nil {
		t.Error("a directory is no journal")
	}
}

// A consumer that was killed knows what it took before, be the last line cut off.
func TestAKilledConsumerRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	first, err := Open(Plain, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"1", "2", "2"} {
		post(t, first, `{"data":{"unit":"`+unit+`"}}`)
	}
	before := taken(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(body, `{"unit":"3","at`...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(Plain, path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if after := taken(t, second); len(after) != 2 || !slices.Equal(before, after) || after[1].Times != 2 {
		t.Errorf("%+v, before %+v", after, before)
	}
}
