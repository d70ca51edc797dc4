// A tree of resources behind Go's net/http and its ServeMux, for path.interop.ts: what is served says which resource it is.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	mux := http.NewServeMux()
	for _, resource := range os.Args[1:] {
		serve := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "resource:%s\n", resource) }
		mux.HandleFunc(resource, serve)
		mux.HandleFunc(resource+"/{$}", serve)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	panic(http.Serve(listener, mux))
}
