<?php
// A small page for PHP-FPM. It works, and it breaks on purpose when the JSON file named by FAULTS says so; the file is read
// again at each request:
//   {"slow": {"path": "/", "ms": 2000}}    a path is slow, each request holding its worker
//   {"hang": {"path": "/"}}                a path never ends
//   {"answer": {"status": 503, "body": "..."}}   answers so
$faults = json_decode((string) @file_get_contents((string) getenv('FAULTS')), true) ?: [];
$path = (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
while (isset($faults['hang']) && str_starts_with($path, $faults['hang']['path'])) {
    sleep(1);
}
if (isset($faults['slow']) && str_starts_with($path, $faults['slow']['path'])) {
    usleep(1000 * $faults['slow']['ms']);
}
header('Content-Type: application/json');
if (isset($faults['answer'])) {
    http_response_code($faults['answer']['status']);
    exit($faults['answer']['body'] . "\n");
}
echo json_encode(['from' => getenv('NAME'), 'path' => $path]), "\n";
