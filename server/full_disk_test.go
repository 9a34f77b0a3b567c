package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// TestFullDisk fills a real, small file system. Publishing is then refused with 503 and Retry-After, nothing is half
// stored, reading goes on, deletion works and makes room, and publishing works again: all in the same process (promise 6).
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=320m"); err != nil {
		t.Skipf("cannot mount a small tmpfs (%v): run this test as root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	s := startServer(t, server.Options{Data: dir, FreeBytes: 32 << 20, AutoCreate: true})
	api := "http://" + s.APIAddr()

	post := func(topic, id string, size int) (int, http.Header, string) {
		t.Helper()
		// Incompressible enough for the store to need its size.
		var data strings.Builder
		for i := 0; data.Len() < size; i++ {
			data.WriteString(tandem.DerivedID(id, fmt.Sprint(i)))
		}
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"disk","type":"test","data":%q}`, id, data.String()[:size])
		resp, err := client.Post(api+"/v1/topics/"+topic+"/events", tandem.MediaEvent, strings.NewReader(body))
		if err != nil {
			t.Fatalf("the process must live on: %v", err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, string(text)
	}

	stored := 0
	for ; stored < 1000; stored++ {
		status, header, text := post("big", fmt.Sprint("b", stored), 512<<10)
		if status == http.StatusCreated {
			continue
		}
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(text, tandem.ProblemBase+"unavailable") {
			t.Fatalf("on a full disk: %d %v %s", status, header, text)
		}
		break
	}
	if stored == 0 || stored == 1000 {
		t.Fatalf("%d events were stored on a volume of 320 MiB", stored)
	}
	t.Logf("refused after %d MiB", stored/2)
	if n := count(t, api, "big"); n != stored {
		t.Errorf("%d events can be read and %d have receipts", n, stored)
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, api+"/v1/topics/big", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("delete on a full disk: %s", resp.Status)
	}
	// The space comes back when the store has dropped its files, which is not an instant.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, _, text := post("small", "s", 1000)
		if status == http.StatusCreated {
			break
		}
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			t.Fatalf("after the deletion: %d %s", status, text)
		}
	}
}

// count pages through a topic.
func count(t *testing.T, api, topic string) (n int) {
	t.Helper()
	for cursor := "from=earliest"; ; {
		var page struct {
			Events []struct{ ID string }
			Cursor string
		}
		getJSON(t, api+"/v1/topics/"+topic+"/events?limit=100&"+cursor, &page)
		if len(page.Events) == 0 {
			return n
		}
		n += len(page.Events)
		cursor = "cursor=" + page.Cursor
	}
}
