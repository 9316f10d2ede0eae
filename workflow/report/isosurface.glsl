#version 300 es
// Surfaces of equal density in one cell of a crystal. Every pixel sends a ray o + t d through the
// cell, whose density is a periodic 3D texture; f is a position in fractions of the lattice vectors.
precision highp float;
precision highp sampler3D;
uniform sampler3D truth, change;   // e/Å³; the third lattice vector runs along x
uniform sampler2D atoms;           // a column an atom: centre and radius in Å, colour
uniform mat3 cell, inverseCell;    // lattice vectors as columns, Å
uniform mat3 turn;                 // from the crystal to the eye, which looks along -z
uniform vec2 picture;              // its size in pixels
uniform vec2 reach;                // half of it in Å
uniform float thick;               // half of the width of the edges, Å
uniform vec3 points;               // voxels along the lattice vectors
uniform vec2 parts;                // of true density and of change that are shown
uniform float level;               // e/Å³
uniform bool both;                 // whether -level has a surface too
uniform vec3 colours[2];           // of the surfaces at level and at -level
uniform int count;                 // of atoms
out vec4 pixel;
vec3 sum = vec3(0.0);              // colour of what the ray has met
float left = 1.0;                  // share of light that passes it

float density(vec3 f) {
  vec3 p = (f + 0.5 / points).zyx;
  return parts.x * texture(truth, p).r + parts.y * texture(change, p).r;
}
int side(vec3 f) {
  float value = density(f);
  return value > level ? 1 : both && value < -level ? -1 : 0;
}
vec3 normal(vec3 f) {
  vec3 h = 1.0 / points;
  vec3 slope = vec3(
    density(f + vec3(h.x, 0, 0)) - density(f - vec3(h.x, 0, 0)),
    density(f + vec3(0, h.y, 0)) - density(f - vec3(0, h.y, 0)),
    density(f + vec3(0, 0, h.z)) - density(f - vec3(0, 0, h.z))) / h;
  return normalize(slope * inverseCell + 1e-12);
}
vec3 lit(vec3 colour, vec3 n) {
  vec3 eye = turn * n;
  float shine = pow(abs(dot(eye, normalize(vec3(0.3, 0.5, 1.5)))), 30.0);
  return colour * (0.4 + 0.6 * abs(dot(eye, normalize(vec3(0.4, 0.6, 1.0))))) + 0.2 * shine;
}
void meet(int surface, vec3 n, float opacity, float white) {
  vec3 colour = mix(surface > 0 ? colours[0] : colours[1], vec3(1.0), white);
  sum += left * opacity * lit(colour, n);
  left *= 1.0 - opacity;
}
vec3 face(vec3 hit) {  // normal of the face of the cell that is nearest to a fractional point
  vec3 off = abs(hit - 0.5);
  vec3 axis = vec3(greaterThanEqual(off, vec3(max(off.x, max(off.y, off.z)))));
  return normalize(axis * inverseCell);
}
// The first t of either sign where o + t d meets an atom or an edge of the cell, and its colour.
float solid(vec3 o, vec3 d, out vec3 colour) {
  float nearest = 1e9;
  colour = vec3(1.0);
  for (int i = 0; i < count; i++) {
    vec4 atom = texelFetch(atoms, ivec2(i, 0), 0);
    vec3 m = o - atom.xyz;
    float b = dot(m, d), inside = b * b - dot(m, m) + atom.w * atom.w, t = -b - sqrt(max(inside, 0.0));
    if (inside < 0.0 || t > nearest) continue;
    nearest = t;
    colour = lit(texelFetch(atoms, ivec2(i, 1), 0).rgb, (m + t * d) / atom.w);
  }
  for (int i = 0; i < 12; i++) {
    int k = i / 4;
    vec3 corner = vec3(0.0);
    corner[(k + 1) % 3] = float(i & 1);
    corner[(k + 2) % 3] = float((i >> 1) & 1);
    vec3 e = cell[k], w = o - cell * corner;
    float de = dot(d, e), ee = dot(e, e);
    float s = clamp((dot(w, e) - de * dot(w, d)) / max(ee - de * de, 1e-6), 0.0, 1.0);
    float t = s * de - dot(w, d);
    if (length(w + t * d - s * e) > thick || t > nearest) continue;
    nearest = t;
    colour = vec3(0.25);
  }
  return nearest;
}
void main() {
  vec3 d = vec3(0.0, 0.0, -1.0) * turn;
  vec3 o = vec3((2.0 * gl_FragCoord.xy / picture - 1.0) * reach, 0.0) * turn + cell * vec3(0.5);
  vec3 back, fo = inverseCell * o, fd = inverseCell * d + 1e-7;
  float end = solid(o, d, back);
  vec3 one = min(-fo / fd, (1.0 - fo) / fd), two = max(-fo / fd, (1.0 - fo) / fd);
  float t0 = max(one.x, max(one.y, one.z)), out1 = min(two.x, min(two.y, two.z)), t1 = min(out1, end);
  int steps = int(clamp(ceil((t1 - t0) * 1.5 * length(fd * points)), 1.0, 600.0));
  float dt = (t1 - t0) / float(steps);
  int was = t1 > t0 ? side(fo + t0 * fd) : 0;
  if (was != 0) meet(was, face(fo + t0 * fd), 0.55, 0.45);
  for (int i = 1; i <= steps && t1 > t0 && left > 0.02; i++) {
    float before = t0 + dt * float(i - 1), t = t0 + dt * float(i);
    int now = side(fo + t * fd);
    if (now == was) continue;
    for (int j = 0; j < 6; j++) {
      float middle = 0.5 * (before + t);
      if (side(fo + middle * fd) == was) before = middle; else t = middle;
    }
    meet(was != 0 ? was : now, normal(fo + t * fd), 0.6, 0.0);
    was = now;
  }
  if (was != 0 && out1 <= end) meet(was, face(fo + out1 * fd), 0.55, 0.45);
  pixel = vec4(sum + left * back, 1.0);
}
