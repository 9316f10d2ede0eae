// Surfaces of equal density in one cell of a crystal: controls and what isosurface.glsl draws.
"use strict";
(() => {
  const VERTEX = `#version 300 es
    void main() {  // one triangle that covers the picture
      gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
    }`;
  const FRAGMENT = document.getElementById("shader").textContent.trim();
  const pairs = JSON.parse(document.getElementById("pairs").textContent);
  const canvas = document.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: false });
  if (!gl) return;  // the static picture stays

  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const at = (name) => gl.getUniformLocation(program, name);
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
  const [ABOVE, BELOW, DENSITY] = ["#d55e00", "#0072b2", "#009e73"];
  const PARTS = { true: [1, 0], predicted: [1, 1], difference: [0, 1] };
  const slider = document.getElementById("level"), output = document.querySelector("output");
  const labels = document.querySelectorAll(".axis");
  let pair, field = "true", turn, zoom, levels;

  function texture(unit, target, wrap, filter) {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, gl.createTexture());
    for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(target, axis, wrap);
    for (const size of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, size, filter);
  }
  ["truth", "change"].forEach((name, unit) => {
    texture(unit, gl.TEXTURE_3D, gl.REPEAT, gl.LINEAR);
    gl.uniform1i(at(name), unit);
  });
  texture(2, gl.TEXTURE_2D, gl.CLAMP_TO_EDGE, gl.NEAREST);
  gl.uniform1i(at("atoms"), 2);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);

  function choose(chosen) {
    pair = chosen;
    [pair.true, pair.difference].forEach((text, unit) => {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const [n1, n2, n3] = pair.shape;
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, n3, n2, n1, 0, gl.RED, gl.HALF_FLOAT, new Uint16Array(bytes.buffer));
    });
    const spheres = pair.centres.flatMap((centre) => [...centre, pair.radius]);
    const paint = pair.symbols.flatMap((symbol) => [...rgb(pair.colours[symbol]), 1]);
    gl.activeTexture(gl.TEXTURE2);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, pair.symbols.length, 2, 0, gl.RGBA, gl.FLOAT, new Float32Array([...spheres, ...paint]));
    gl.uniform1i(at("count"), pair.symbols.length);
    gl.uniform3fv(at("points"), pair.shape);
    gl.uniformMatrix3fv(at("cell"), false, pair.lattice);
    const [a, b, c] = [0, 3, 6].map((i) => pair.lattice.slice(i, i + 3));
    const cross = (u, v) => [0, 1, 2].map((i) => u[(i + 1) % 3] * v[(i + 2) % 3] - u[(i + 2) % 3] * v[(i + 1) % 3]);
    const volume = cross(a, b).reduce((sum, v, i) => sum + v * c[i], 0);
    gl.uniformMatrix3fv(at("inverseCell"), true, [cross(b, c), cross(c, a), cross(a, b)].flat().map((v) => v / volume));
    const diagonals = [[1, 1], [1, -1], [-1, 1], [-1, -1]].map(([s, t]) => Math.hypot(...a.map((v, i) => v + s * b[i] + t * c[i])));
    pair.size = 0.5 * Math.max(...diagonals) + 2 * pair.radius;
    levels = { density: pair.density[2], change: pair.change[2] };
    legend();
    place();
    reset();
  }

  function legend() {
    const [name, other] = [...document.getElementsByName("field")].map((r) => r.parentElement.textContent);
    const surfaces = field === "difference"
      ? [[`${other} above ${name}`, ABOVE, ""], [`${other} below ${name}`, BELOW, ""]]
      : [[`density above the isovalue, ${field === "true" ? name : other}`, DENSITY, ""]];
    const elements = Object.entries(pair.colours).map(([symbol, colour]) => [symbol, colour, "atom"]);
    document.getElementById("legend").replaceChildren(...[...elements, ...surfaces].map(([text, colour, kind]) => {
      const item = document.createElement("span"), dot = document.createElement("i");
      dot.style.background = colour;
      dot.className = kind;
      item.append(dot, text);
      return item;
    }));
    canvas.setAttribute("aria-label", `Isosurface: ${pair.title}; ${surfaces.map((mark) => mark[0]).join(", ")}`);
  }

  // The slider is logarithmic. Both densities share a level, their difference has its own.
  const scale = () => (field === "difference" ? "change" : "density");
  function place() {
    const [least, most] = pair[scale()];
    slider.value = Math.log(levels[scale()] / least) / Math.log(most / least);
    tell();
  }
  function tell() {
    output.value = `${field === "difference" ? "±" : ""}${levels[scale()].toPrecision(3)} e/Å³`;
    slider.setAttribute("aria-valuetext", output.value);
    show();
  }

  // Rows of rotation matrices, from the crystal to the eye.
  const times = (p, q) => p.map((_, i) => [0, 3, 6].reduce((sum, j, k) => sum + p[i - (i % 3) + k] * q[j + (i % 3)], 0));
  const aboutX = (t) => [1, 0, 0, 0, Math.cos(t), -Math.sin(t), 0, Math.sin(t), Math.cos(t)];
  const aboutY = (t) => [Math.cos(t), 0, Math.sin(t), 0, 1, 0, -Math.sin(t), 0, Math.cos(t)];
  const aboutZ = (t) => [Math.cos(t), -Math.sin(t), 0, Math.sin(t), Math.cos(t), 0, 0, 0, 1];
  function rotate(right, down) {
    turn = times(times(aboutY(right), aboutX(down)), turn);
    show();
  }
  function magnify(factor) {
    zoom = Math.min(20, Math.max(0.3, zoom * factor));
    show();
  }
  function reset() {
    turn = times(aboutX(-1.25), aboutZ(-0.45));  // the third lattice vector points upwards
    zoom = 1;
    show();
  }

  // A coarse picture at once, a fine one when nothing has moved for a moment.
  let waiting = false, later = 0;
  function show() {
    if (!waiting) requestAnimationFrame(coarse);
    waiting = true;
  }
  function coarse() {
    waiting = false;
    draw(1);
    clearTimeout(later);
    later = setTimeout(() => draw(2), 150);
  }
  function draw(detail) {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height || gl.isContextLost()) return;
    [canvas.width, canvas.height] = [detail * width, detail * height];
    gl.viewport(0, 0, canvas.width, canvas.height);
    const half = pair.size / zoom / Math.min(width, height);  // Å in half a pixel of the page
    gl.uniformMatrix3fv(at("turn"), true, turn);
    gl.uniform2f(at("picture"), canvas.width, canvas.height);
    gl.uniform2f(at("reach"), half * width, half * height);
    gl.uniform1f(at("thick"), 1.3 * half);
    gl.uniform2fv(at("parts"), PARTS[field]);
    gl.uniform1f(at("level"), levels[scale()]);
    gl.uniform1i(at("both"), field === "difference");
    gl.uniform3fv(at("colours"), [...rgb(field === "difference" ? ABOVE : DENSITY), ...rgb(BELOW)]);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    const rows = [0, 1, 2].map((k) => pair.lattice.slice(3 * k, 3 * k + 3));
    const middle = [0, 1, 2].map((i) => 0.5 * (rows[0][i] + rows[1][i] + rows[2][i]));
    rows.forEach((row, k) => {  // a, b, c beyond the ends of the edges
      const end = row.map((v, i) => v * (1 + 0.8 / Math.hypot(...row)) - middle[i]);
      const [x, y] = [0, 3].map((j) => end.reduce((sum, v, i) => sum + turn[j + i] * v, 0) / half / 2);
      labels[k].style.left = `${width / 2 + x}px`;
      labels[k].style.top = `${height / 2 - y}px`;
    });
  }

  const held = new Map();  // pointers that are down
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => held.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    held.set(event.pointerId, now);
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) + 1;
    if (other) magnify(apart(now) / apart(before));
    else rotate(0.01 * (now[0] - before[0]), 0.01 * (now[1] - before[1]));
  });
  canvas.addEventListener("wheel", (event) => {
    // Inside a report the wheel belongs to the report until the picture is clicked.
    if (window.parent !== window && document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    magnify(Math.exp(-0.001 * event.deltaY * (event.deltaMode ? 30 : 1)));
  }, { passive: false });
  canvas.addEventListener("dblclick", reset);
  const KEYS = {
    ArrowLeft: () => rotate(-0.1, 0), ArrowRight: () => rotate(0.1, 0), ArrowUp: () => rotate(0, -0.1), ArrowDown: () => rotate(0, 0.1),
    "+": () => magnify(1.15), "=": () => magnify(1.15), "-": () => magnify(1 / 1.15), 0: reset,
  };
  canvas.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(KEYS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.getElementById("reset").addEventListener("click", reset);
  document.getElementById("crystal").addEventListener("change", (event) => choose(pairs[event.target.value]));
  for (const radio of document.getElementsByName("field")) radio.addEventListener("change", () => {
    field = radio.value;
    legend();
    place();
  });
  slider.addEventListener("input", () => {
    const [least, most] = pair[scale()];
    levels[scale()] = least * (most / least) ** slider.value;
    tell();
  });
  canvas.addEventListener("webglcontextlost", () => document.documentElement.classList.remove("works"));
  new ResizeObserver(() => show()).observe(canvas);
  choose(pairs[0]);
  document.documentElement.classList.add("works");
})();
