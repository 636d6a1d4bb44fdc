package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
)

//go:embed templates assets
var files embed.FS

var (
	style     = mustRead("assets/console.css")
	icon      = mustRead("assets/icon.svg")
	stylePath = assetPath("console.css", style)
	iconPath  = assetPath("icon.svg", icon)
	pages     = parsePages("sign_in", "signal_list", "signal_show", "receipt_show", "source_list", "source_show", "stream_list", "stream_show", "order_list", "order_show", "message")
)

func mustRead(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return b
}

// assetPath holds the content's hash, so that browsers may keep it for ever.
func assetPath(name string, content []byte) string {
	sum := sha256.Sum256(content)
	return "/assets/" + hex.EncodeToString(sum[:8]) + "/" + name
}

func serveAsset(contentType string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		w.Write(content)
	}
}

// parsePages gives each page the layout and the parts. A page that does not parse stops the program.
func parsePages(names ...string) map[string]*template.Template {
	parts, err := fs.Glob(files, "templates/parts/*.html")
	if err != nil {
		panic(err)
	}
	out := map[string]*template.Template{}
	for _, n := range names {
		t := template.New("layout.html").Funcs(functions)
		out[n] = template.Must(t.ParseFS(files, append([]string{"templates/layout.html", "templates/pages/" + n + ".html"}, parts...)...))
	}
	return out
}

// frame is what every page has around it.
type frame struct {
	Title  string
	Name   string // of the hub
	Dev    bool
	User   *User // nil: nobody is signed in
	Style  string
	Icon   string
	Narrow bool // a page of one column
	Places []placeView
}

// placeView is one way in the navigation.
type placeView struct {
	Text, Link string
	Here       bool
}

// at marks where in the navigation a page is.
func (f frame) at(place string) frame {
	for i := range f.Places {
		f.Places[i].Here = f.Places[i].Link == "/"+place || place == "signals" && f.Places[i].Link == "/"
	}
	return f
}

func (c *Console) frame(title string, u *User) frame {
	if u != nil && u.Name == "" {
		u = nil
	}
	var places []placeView
	if u != nil && u.Read {
		places = append(places, placeView{Text: "Signals", Link: "/"})
	}
	if u != nil && u.ReadStreams {
		places = append(places, placeView{Text: "Sources", Link: "/sources"})
		places = append(places, placeView{Text: "Streams", Link: "/streams"})
	}
	if u != nil && u.Read {
		places = append(places, placeView{Text: "Orders", Link: "/orders"})
	}
	if len(places) < 2 {
		places = nil
	}
	return frame{Places: places, Title: title, Name: c.c.Name, Dev: c.c.Dev, User: u, Style: stylePath, Icon: iconPath}
}

type messageView struct {
	frame
	Heading, Text, Code string
	Link, LinkText      string
}

// render writes one page, or nothing of it where the template fails.
func (c *Console) render(w http.ResponseWriter, status int, page string, view any) {
	var b bytes.Buffer
	if err := pages[page].Execute(&b, view); err != nil {
		c.c.Log.Error("template failed", "page", page, "err", err)
		http.Error(w, "something went wrong here", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
