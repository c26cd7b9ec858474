package admin

import (
	"net/http"
	"regexp"
	"strings"
)

// openapi answers with the description of the API. It is made of the routes, and of the
// types of their bodies and answers.
func (a api) openapi(w http.ResponseWriter, _ *http.Request) { answer(w, a.document()) }

// jsonMedia is the type of answers and bodies that are JSON.
const jsonMedia = "application/json"

// document describes the API. Spec: OpenAPI 3.1.
func (a api) document() schema {
	types := newSchemas()
	problem := content(jsonMedia, types.of(failure{}))
	paths := schema{}
	for _, to := range a.routes() {
		method, path, _ := strings.Cut(to.pattern, " ")
		item, ok := paths[path].(schema)
		if !ok {
			item = schema{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = to.operation(types)
	}
	return schema{
		"openapi": "3.1.0",
		"info": schema{
			"title": "balhost", "version": "1",
			"description": "What a running host tells, and what it can be ordered to do. Later versions add paths and fields, and change none.",
		},
		"paths": paths,
		"components": schema{
			"schemas":   types.made,
			"responses": schema{"Problem": schema{"description": "It was not done: why, and what to do.", "content": problem}},
			"securitySchemes": schema{"token": schema{
				"type": "http", "scheme": "bearer", "description": "A token of the config's admin block. A host without tokens asks for none.",
			}},
		},
	}
}

// operation describes one method of a path.
func (r route) operation(types *schemas) schema {
	op := schema{
		"operationId": r.id(), "summary": r.does, "x-role": r.role.String(),
		"security": []schema{}, "responses": r.responses(types), "parameters": r.parameters(),
	}
	if r.role > Anyone {
		op["security"] = []schema{{"token": []string{}}}
		op["description"] = "It needs the role " + r.role.String() + "."
	}
	if r.body != nil {
		op["requestBody"] = schema{"required": !r.optional, "content": content(jsonMedia, types.body(r.body))}
	}
	return op
}

// wildcards match what stands for a name in a route's pattern.
var wildcards = regexp.MustCompile(`\{([^}]*)\}`)

// parameters describes those in the path and in the query.
func (r route) parameters() []schema {
	all := []schema{}
	for _, found := range wildcards.FindAllStringSubmatch(r.pattern, -1) {
		all = append(all, schema{"name": found[1], "in": "path", "required": true, "schema": schema{"type": "string", "minLength": 1}})
	}
	for _, p := range r.query {
		one := schema{"name": p.name, "in": "query", "description": p.does, "schema": p.schema, "x-role": max(p.role, r.role).String()}
		if p.role > r.role {
			one["description"] = p.does + "; it needs the role " + p.role.String()
		}
		if p.schema["type"] == "array" {
			one["explode"] = false // with commas
		}
		all = append(all, one)
	}
	return all
}

// responses describes the answers. What is not a success is a Problem: the status says who
// must act.
func (r route) responses(types *schemas) schema {
	problem := schema{"$ref": "#/components/responses/Problem"}
	all := schema{"default": problem}
	media := content(r.media, schema{"type": "string"})
	switch {
	case r.media == "":
		media = content(jsonMedia, types.of(r.answer))
	case r.answer != nil: // a stream of events
		media[r.media].(schema)["x-event-data"] = types.of(r.answer)
	}
	all["200"] = schema{"description": "It was done.", "content": media}
	if r.otherwise != nil {
		all["503"] = schema{"description": "The host can't.", "content": content(jsonMedia, types.of(r.otherwise))}
	}
	for code, may := range map[string]bool{
		"400": !r.loose || r.body != nil, "401": r.role > Anyone, "403": true, "404": strings.Contains(r.pattern, "{"), "413": r.body != nil, "429": r.role > Anyone,
	} {
		if may {
			all[code] = problem
		}
	}
	return all
}

// id is a name for the route: getV1Status for GET /v1/status.
func (r route) id() string {
	words := strings.FieldsFunc(strings.ToLower(r.pattern), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	for i := range words[1:] {
		words[i+1] = capital(words[i+1])
	}
	return strings.Join(words, "")
}

// content says of which type a body or an answer is.
func content(media string, of schema) schema { return schema{media: schema{"schema": of}} }
