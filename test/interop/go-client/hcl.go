package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
	jsonparser "github.com/hashicorp/hcl/json/parser"
)

// parseHCL reads texts, a JSON array of strings, from standard input, and prints what the reference's parser makes of each. In a
// tree, {"entries": [[KEYS, VALUE]]} is an object, {"items"} a list, {"text"} a string, {"number"} a number as written.
func parseHCL(context.Context, []string) error {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return err
	}
	for _, text := range texts {
		tree, err := treeOf(text)
		if err != nil {
			emit(map[string]any{"error": err.Error()})
		} else {
			emit(map[string]any{"tree": tree})
		}
	}
	return nil
}

func treeOf(text string) (tree any, err error) {
	defer func() {
		// The parser takes some escapes that it then cannot give the value of.
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	// As hcl.Decode, which the reference calls, and unlike hcl.Parse, it takes a key that comes twice.
	parse := parser.ParseDontErrorOnDuplicateKeys
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		parse = jsonparser.Parse
	}
	file, err := parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return value(file.Node), nil
}

func value(node ast.Node) any {
	switch node := node.(type) {
	case *ast.ObjectList:
		entries := []any{}
		for _, item := range node.Items {
			keys := []string{}
			for _, key := range item.Keys {
				keys = append(keys, key.Token.Value().(string))
			}
			entries = append(entries, []any{keys, value(item.Val)})
		}
		return map[string]any{"entries": entries}
	case *ast.ObjectType:
		return value(node.List)
	case *ast.ListType:
		items := []any{}
		for _, item := range node.List {
			items = append(items, value(item))
		}
		return map[string]any{"items": items}
	case *ast.LiteralType:
		if node.Token.Type == token.NUMBER || node.Token.Type == token.FLOAT {
			return map[string]any{"number": node.Token.Text}
		}
		if node.Token.Type == token.BOOL {
			return node.Token.Value()
		}
		return map[string]any{"text": node.Token.Value()}
	default:
		panic(fmt.Sprintf("%T", node))
	}
}

// expand prints texts with $NAME replaced from an environment, both from standard input, as the reference does for -expandEnv.
func expand(context.Context, []string) error {
	var input struct {
		Env   map[string]string
		Texts []string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		return err
	}
	for i, text := range input.Texts {
		input.Texts[i] = os.Expand(text, func(name string) string {
			if name == "$" {
				return name
			}
			return input.Env[name]
		})
	}
	emit(input.Texts)
	return nil
}
