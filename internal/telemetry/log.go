package telemetry

import (
	"io"
	"log/slog"
	"strings"
)

// Masked stands where the value of an attribute was not for the log.
const Masked = "[masked]"

// Logger makes the log: level debug, info, warn or error; format text or json. Unknown words mean
// info and text.
func Logger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	opt := &slog.HandlerOptions{Level: l, ReplaceAttr: mask}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// private lists words that an attribute's name may not hold with its value shown.
var private = []string{"token", "secret", "password", "authorization", "cookie", "subject", "sub_id", "email", "master_key"}

func mask(_ []string, a slog.Attr) slog.Attr {
	name := strings.ToLower(a.Key)
	for _, p := range private {
		// Names such as token_id speak of an id, which may be logged.
		if strings.Contains(name, p) && !strings.HasSuffix(name, "_id") || name == "sub_id" {
			return slog.String(a.Key, Masked)
		}
	}
	return a
}
