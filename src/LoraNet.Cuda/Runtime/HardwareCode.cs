using System.Globalization;
using System.Reflection;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using LoraNet.Cuda.Kernels;

namespace LoraNet.Cuda.Runtime;

/// <summary>The PTX of <see cref="Hardware"/>: ILGPU calls these instead of translating the managed bodies.</summary>
internal static class HardwareCode
{
    /// <summary>Tells ILGPU about the instructions of a card; <paramref name="ampere"/> when it has those of sm_80.</summary>
    public static void Register(IntrinsicImplementationManager manager, bool ampere)
    {
        Write(nameof(Hardware.Exp2), Exp2);
        Write(nameof(Hardware.Reciprocal), Reciprocal);
        Write(nameof(Hardware.NarrowF16), ampere ? NarrowF16 : NarrowF16One);
        Write(nameof(Hardware.WidenLowF16), WidenLowF16);
        Write(nameof(Hardware.WidenHighF16), WidenHighF16);
        if (ampere) Write(nameof(Hardware.NarrowBF16), NarrowBF16);
        else manager.RegisterMethod(Method(nameof(Hardware.NarrowBF16)), new PTXIntrinsic(Method(nameof(Hardware.NarrowBF16Plainly)), IntrinsicImplementationMode.Redirect));

        void Write(string name, Action<PTXBackend, PTXCodeGenerator, Value> code) =>
            manager.RegisterMethod(Method(name), new PTXIntrinsic(code.Method, IntrinsicImplementationMode.GenerateCode));
    }

    private static MethodInfo Method(string name) => typeof(Hardware).GetMethod(name)!;

    private static void Exp2(PTXBackend backend, PTXCodeGenerator g, Value v) => Emit(g, v, "ex2.approx.ftz.f32 {0}, {1};");

    private static void Reciprocal(PTXBackend backend, PTXCodeGenerator g, Value v) => Emit(g, v, "rcp.approx.ftz.f32 {0}, {1};");

    private static void NarrowBF16(PTXBackend backend, PTXCodeGenerator g, Value v) => Emit(g, v, "cvt.rn.bf16x2.f32 {0}, {2}, {1};");

    private static void NarrowF16(PTXBackend backend, PTXCodeGenerator g, Value v) => Emit(g, v, "cvt.rn.f16x2.f32 {0}, {2}, {1};");

    private static void NarrowF16One(PTXBackend backend, PTXCodeGenerator g, Value v) =>
        Emit(g, v, "{{ .reg .b16 low, high; cvt.rn.f16.f32 low, {1}; cvt.rn.f16.f32 high, {2}; mov.b32 {0}, {{low, high}}; }}");

    private static void WidenLowF16(PTXBackend backend, PTXCodeGenerator g, Value v) =>
        Emit(g, v, "{{ .reg .b16 low, high; mov.b32 {{low, high}}, {1}; cvt.f32.f16 {0}, low; }}");

    private static void WidenHighF16(PTXBackend backend, PTXCodeGenerator g, Value v) =>
        Emit(g, v, "{{ .reg .b16 low, high; mov.b32 {{low, high}}, {1}; cvt.f32.f16 {0}, high; }}");

    /// <summary>Writes one instruction: {0} is the result's register, {1} and {2} those of the arguments.</summary>
    private static void Emit(PTXCodeGenerator g, Value value, string text)
    {
        string[] registers = new string[value.Nodes.Length + 1];
        for (int i = 0; i < value.Nodes.Length; i++) registers[i + 1] = Name(g.EnsureHardwareRegister(g.LoadPrimitive(value.Nodes[i])));
        registers[0] = Name(g.AllocateHardware(value));
        g.Builder.Append('\t').AppendFormat(CultureInfo.InvariantCulture, text, registers).AppendLine();

        static string Name(ILGPU.Backends.RegisterAllocator<PTXRegisterKind>.HardwareRegister r) => "%" + PTXRegisterAllocator.GetStringRepresentation(r);
    }
}
