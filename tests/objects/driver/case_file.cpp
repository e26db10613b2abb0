#include "case_file.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace softstep::driver {
namespace {

constexpr const char* kFirstLine = "softstep driver cases 1";

std::size_t size_of(const std::string& type) {
  if (type == "float64")
    return 8;
  if (type == "float32" || type == "int32")
    return 4;
  if (type == "float16" || type == "bfloat16")
    return 2;
  throw std::runtime_error("unknown type " + type);
}

void read_bytes(std::istream& in, void* to, std::size_t size) {
  in.read(static_cast<char*>(to), static_cast<std::streamsize>(size));
  if (!in || in.get() != '\n')
    throw std::runtime_error("the file ends inside an array");
}

Array read_array(std::istream& in, std::istringstream& words) {
  Array array;
  words >> array.type >> array.rows >> array.cols;
  array.bytes.resize(static_cast<std::size_t>(array.rows * array.cols) * size_of(array.type));
  read_bytes(in, array.bytes.data(), array.bytes.size());
  return array;
}

Expectation read_expectation(std::istream& in, std::istringstream& words) {
  Expectation expected;
  words >> expected.rows >> expected.cols;
  const auto size = static_cast<std::size_t>(expected.rows * expected.cols);
  for (auto* numbers : {&expected.values, &expected.bounds}) {
    numbers->resize(size);
    read_bytes(in, numbers->data(), size * sizeof(double));
  }
  return expected;
}

Case read_case(std::istream& in, std::istringstream& words) {
  Case result;
  words >> result.family >> result.type >> std::ws;
  std::getline(words, result.title);
  for (std::string line; std::getline(in, line) && line != "end";) {
    std::istringstream rest(line);
    std::string kind, name;
    rest >> kind >> name;
    if (kind == "option")
      rest >> result.options[name];
    else if (kind == "array")
      result.arrays[name] = read_array(in, rest);
    else if (kind == "expect")
      result.expected[name] = read_expectation(in, rest);
    if (!rest || (kind != "option" && kind != "array" && kind != "expect"))
      throw std::runtime_error("not understood: " + line);
  }
  return result;
}

} // namespace

double Case::option(const std::string& name, double otherwise) const {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : found->second;
}

const Array* Case::find_array(const std::string& name) const {
  const auto found = arrays.find(name);
  return found == arrays.end() ? nullptr : &found->second;
}

const Array& Case::array(const std::string& name) const {
  if (const Array* found = find_array(name))
    return *found;
  throw std::runtime_error(family + ", " + title + ": no array " + name);
}

const Expectation* Case::expects(const std::string& name) const {
  const auto found = expected.find(name);
  return found == expected.end() ? nullptr : &found->second;
}

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string line;
  if (!std::getline(in, line) || line != kFirstLine)
    throw std::runtime_error(path + ": expected a file that begins with '" + kFirstLine + "'");
  std::vector<Case> cases;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind != "case")
      throw std::runtime_error(path + ": expected a case, got " + line);
    cases.push_back(read_case(in, words));
  }
  return cases;
}

} // namespace softstep::driver
