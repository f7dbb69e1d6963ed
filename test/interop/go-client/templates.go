package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

type name struct {
	CommonName   string
	Organization []string
}

// node has the fields of a node's certificate with the types that they have in Go.
type node struct {
	PluginName      string
	SerialNumber    *big.Int
	Subject         name
	DNSNames        []string
	URISanSelectors map[string]string
}

// templates reads {"data": NODE, "templates": [TEXT, …]} and prints for each template {"output": TEXT} or {"error": TEXT}.
func templates(context.Context, []string) error {
	var input struct {
		Data      json.RawMessage
		Templates []string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		return err
	}
	for _, text := range input.Templates {
		// sortAlpha sorts the node's own list: each template gets a node of its own.
		var data node
		if err := json.Unmarshal(input.Data, &data); err != nil {
			return err
		}
		output, err := execute(text, data)
		if err != nil {
			emit(map[string]string{"error": err.Error()})
		} else {
			emit(map[string]string{"output": output})
		}
	}
	return nil
}

func execute(text string, data node) (output string, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	parsed, err := template.New("t").Option("missingkey=error").Funcs(sprig.TxtFuncMap()).Parse(text)
	if err != nil {
		return "", err
	}
	var written bytes.Buffer
	err = parsed.Execute(&written, data)
	return written.String(), err
}
