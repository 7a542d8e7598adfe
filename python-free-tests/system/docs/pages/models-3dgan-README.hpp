#include <bunchtrain/models/3dgan/discriminator.hpp>
#include <bunchtrain/models/3dgan/generator.hpp>
static const at::Tensor noise, energy;
