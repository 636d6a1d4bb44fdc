package server

import "testing"

func TestStopper(t *testing.T) {
	died := 0
	was := kill
	kill = func() { died++ }
	t.Cleanup(func() { kill = was })
	stop, err := stopper("act.before-send:3,push.after-202:1")
	if err != nil {
		t.Fatal(err)
	}
	stop("act.before-send")
	stop("act.after-answer")
	stop("act.before-send")
	if died != 0 {
		t.Fatal("stopped too early")
	}
	stop("act.before-send")
	stop("act.before-send")
	if died != 1 {
		t.Errorf("stopped %d times, want once", died)
	}
	stop("push.after-202")
	if died != 2 {
		t.Errorf("the second point did not stop it")
	}
	for _, bad := range []string{"x", "x:0", "x:-1", ":1", "x:y"} {
		if _, err := stopper(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if stop, err := stopper(""); stop != nil || err != nil {
		t.Error("nothing asked for must be nothing")
	}
}
